"""Takes flame graphs of worker, ingest and relay while 50 orders are under way.

    python -m bench.profile [--quick] [worker|ingest|relay ...]

py-spy looks 200 times a second at the thread that runs Python (holds the GIL). Work outside of
Python, such as Temporal's core, which is Rust, is not seen but as time of threads. Kept are the
graphs as SVG, and which functions and packages the samples were in.
"""

import asyncio
import re
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil

from bench.command import Options, Telling, options
from bench.load import Closed
from bench.things import things
from bench.variants import VARIANTS

PART: Final = "profile"
ROLES: Final = ("worker", "ingest", "relay")
SECONDS: Final = 8
ROUNDS: Final = 1


async def record(pid: int, form: str, file: Path, seconds: int) -> None:
    """Let py-spy look at a process."""
    program = Path(sysconfig.get_path("scripts")) / "py-spy"
    spy = await asyncio.create_subprocess_exec(
        *(str(program), "record", "--pid", str(pid), "--rate", "200"),
        *("--gil", "--duration", str(seconds), "--format", form, "--output", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await spy.communicate()
    if spy.returncode:
        raise RuntimeError(f"py-spy: {told.decode().strip()}")


def without_places(text: str) -> str:
    """Remove where things lie on this machine."""
    for place in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), str(Path.cwd())):
        text = text.replace(f"{place}/", "")
    for root in {sys.base_prefix, sys.prefix, str(Path.home())}:
        text = text.replace(f"{root}/", "")
    return re.sub(r"""([\s"'(])(?:/[\w.+-]+)+/([\w.+-]+)""", r"\1\2", text)


def package(frame: str) -> str:
    """Return the package of a frame such as ``run (uvicorn/server.py:1)``."""
    found = re.search(r"\(([\w.<>-]+)(?:/([\w.-]+))?", frame)
    return found[1].removesuffix(".py") if found else "?"


def summary(collapsed: str) -> dict[str, Any]:
    """Count samples: by the package that did or ordered the work, and by function.

    The standard library works for whoever called it.
    """
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    total = 0
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        total += int(count)
        outside = [package(frame) for frame in frames if not _waits(frame)]
        packages[outside[-1] if outside else "event loop"] += int(count)
        for frame in {re.sub(r":\d+\)", ")", frame) for frame in frames}:
            functions[frame] += int(count)
    return {
        "samples": total,
        "packages": {name: count / total for name, count in packages.most_common(12)},
        "functions": {name: count / total for name, count in functions.most_common(60)},
    }


def _waits(frame: str) -> bool:
    """Tell whether a frame works for others: the standard library, or what runs the loop."""
    name = package(frame)
    library = name in sys.stdlib_module_names or name.startswith(("thread", "<"))
    return library or name == "typer" or "ingest/cli.py" in frame or "ingest/program.py" in frame


def threads(pid: int) -> dict[str, float]:
    """Return the CPU seconds of the main thread, which runs Python, and of all others."""
    seconds = {t.id: t.user_time + t.system_time for t in psutil.Process(pid).threads()}
    main = seconds.pop(pid)
    return {"main": main, "others": sum(seconds.values())}


async def profile(given: Options) -> None:
    """Profile each role in turn under one load."""
    seconds = 5 if given.quick else SECONDS
    given.directory.mkdir(parents=True, exist_ok=True)
    with Telling(PART, len(given.only), given.directory) as telling:
        async with VARIANTS["full"](telling.now("start")) as variant:
            assert variant.service is not None  # noqa: S101 - full is the service
            async with Closed(variant.one, 50, "P") as load:
                await load.pass_time(seconds / 2)
                for name in given.only:
                    telling.now(name)
                    pid = variant.service.local.roles[name].pid
                    before, done = threads(pid), load.done
                    run = await look_at(name, pid, given.directory / f"{name}.svg", seconds)
                    after = threads(pid)
                    used = {key: after[key] - before[key] for key in after}
                    orders = load.done - done
                    top = ", ".join(f"{k} {v:.0%}" for k, v in list(run["packages"].items())[:5])
                    telling.keep(
                        {"role": name, "orders": orders, "threads": used, **run},
                        f"{name}: main thread {used['main'] / orders * 1000:.1f} ms an order, "
                        f"others {used['others'] / orders * 1000:.1f} ms; {top}",
                    )


async def look_at(role: str, pid: int, svg: Path, seconds: int) -> dict[str, Any]:
    """Write the flame graph of a process; return what the samples were in."""
    with tempfile.TemporaryDirectory() as directory:
        graph, collapsed = Path(directory) / "graph.svg", Path(directory) / "collapsed"
        await record(pid, "flamegraph", graph, seconds)
        await record(pid, "raw", collapsed, seconds)
        svg.write_text(without_places(graph.read_text()))  # noqa: ASYNC240 - between two loads
        stacks = without_places(collapsed.read_text())
        return {**summary(stacks), "things": things(role, stacks)}


if __name__ == "__main__":
    asyncio.run(profile(options(__doc__, PART, ROUNDS, ROLES)))
