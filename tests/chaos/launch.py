"""``python -m tests.chaos.launch ROLE``: a role as it is, able to crash at named points.

``CHAOS_CRASH_DIRECTORY`` is where armed points are looked for; ``CHAOS_BUG`` plants a bug.
"""

import os
import sys
from pathlib import Path

from tests.chaos import crash_points
from tests.chaos.planted import BUGS


def main() -> None:
    """Prepare this process, then be the role."""
    from ingest.cli import main as orders

    if bug := os.environ.get("CHAOS_BUG"):
        BUGS[bug].plant()
    crash_points.install(sys.argv[1], Path(os.environ["CHAOS_CRASH_DIRECTORY"]))
    orders()


if __name__ == "__main__":
    main()
