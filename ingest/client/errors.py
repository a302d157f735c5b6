"""How a command of the client ends, as exit codes for scripts."""

from enum import IntEnum


class Code(IntEnum):
    """Exit codes."""

    DONE = 0
    REJECTED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class Failed(Exception):
    """Ends the command with ``code`` and one line that says what to do."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
