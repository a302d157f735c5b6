"""Times to ship as counts by steps of 5 %: small, exact to 2.5 %, and added up by adding counts."""

import math
from collections.abc import Mapping
from typing import Final

FIRST_MS: Final = 10
RATIO: Final = 1.05
LAST_STEP: Final = round(math.log(24 * 3_600_000 / FIRST_MS) / math.log(RATIO))


def step_of(milliseconds: int) -> int:
    """Return the step that holds a duration; anything over a day is counted as a day."""
    if milliseconds <= FIRST_MS:
        return 0
    return min(LAST_STEP, round(math.log(milliseconds / FIRST_MS) / math.log(RATIO)))


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the duration in seconds that ``share`` (0 to 1) of the counted ones do not exceed.

    ``None`` when nothing was counted. Within 2.5 % of the exact value.
    """
    total = sum(counts.values())
    rank = share * total
    seen = 0
    for step in sorted(counts):
        seen += counts[step]
        if seen >= rank:
            return FIRST_MS * RATIO**step / 1000
    return None
