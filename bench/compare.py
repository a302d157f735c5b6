"""Measures the service of an earlier commit and of this tree in turns.

    python -m bench.compare COMMIT "WHAT WAS MENDED" [--rounds N]

The earlier commit is checked out beside; it needs ``bench.orders`` too.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.data import KEPT, LOOK, Run, keep, load

ROUNDS: Final = 3


def measure(tree: Path) -> Run:
    """Measure the service once, as the code of a tree has it."""
    argv = [sys.executable, "-m", "bench.orders", "--aside", "--rounds", "1", "full"]
    subprocess.run(argv, cwd=tree, check=True)
    return load(tree / LOOK, "orders")[-1]


def main() -> None:
    """Keep the ratios, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("what")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        before = Path(directory) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", before, given.commit], check=True)
        try:
            for number in range(given.rounds):
                trees = {"before": before, "after": Path.cwd()}
                found = {name: measure(trees[name]) for name in random.sample(list(trees), 2)}
                ratio = {
                    key: found["after"][figure] / found["before"][figure]
                    for key, figure in (("rate", "rate"), ("cpu", "cpu_an_order"))
                }
                print(f"{given.what}: orders/s x {ratio['rate']:.2f}, CPU x {ratio['cpu']:.2f}")
                keep(KEPT, "compare", {"what": given.what, "round": number, **ratio, **found})
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], check=True)


if __name__ == "__main__":
    main()
