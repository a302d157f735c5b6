"""What every child process runs first; it then becomes the child (same pid).

    python -I -S leash.py PIPE PARENT SIGNAL USER PROGRAM ARGUMENT...

It tells the guardian (PIPE: an inherited descriptor, or the path of one) that this pid exists,
changes to USER ("-": stays who it is) and executes PROGRAM. Because it registers itself before it
looks whether PARENT still lives, there is no moment in which a child can be missed: a parent that
is killed before that look makes the leash exit, one killed later leaves a guardian that knows.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys


def main(arguments: list[str]) -> None:
    pipe, parent, stop_signal, user, *argv = arguments
    fd = int(pipe) if pipe.isdigit() else os.open(pipe, os.O_WRONLY)
    os.write(fd, f"+ {os.getpid()} {stop_signal}\n".encode())
    os.close(fd)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    if user != "-":
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
