"""Measures everything, makes the report and docs/scaling.md: ``make bench``.

    python -m bench [--quick] [--rounds N] [--fresh]

Each part is a program of its own and keeps what it measured, so that a broken-off run goes on with
``make bench PART=...`` and the report is made of what there is (``make bench PART=report``).
"""

import subprocess
import sys
from typing import Final

from bench.report import PARTS

OWN_ARGUMENTS: Final = ("rest", "ingest")
"""Parts that have other options than these."""


def main() -> int:
    """Run all parts, then the report; returns the first exit code that is not 0."""
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    for part in PARTS:
        given = [word for word in arguments if part not in OWN_ARGUMENTS or word == "--quick"]
        if code := _run(part, *given):
            print(f"bench.{part} ended with exit code {code}", file=sys.stderr)
            return code
    if "--quick" in arguments:
        return _run("report", "--quick")
    return _run("report") or _run("scaling")


def _run(part: str, *arguments: str) -> int:
    """Run one part as a program of its own; returns its exit code."""
    argv = [sys.executable, "-m", f"bench.{part}", *arguments]
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
