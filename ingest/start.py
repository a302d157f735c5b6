"""The first lines of the program ``orders``."""

import signal


def main() -> None:
    """Run the command line.

    Ctrl-C ends it at once and without a word, also while it is still being imported, until a
    command knows better (``client.program.exits``; roles have handlers of their own).
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ingest.cli import main as command_line

    command_line()
