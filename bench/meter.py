"""Who used how much CPU: the processes of a stack, apart, and everybody else on the machine."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import psutil

BENCH: Final = "bench"
"""The measuring process: makes the load and watches it end."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What passed between two readings: wall seconds, and CPU seconds by name.

    ``others``: cores that processes outside of the measurement kept busy meanwhile. ``idle``:
    cores that nobody used.
    """

    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    idle: float = 0.0
    load_average: float = 0.0

    @property
    def total(self) -> float:
        """Return the CPU seconds of all that was measured, the bench itself left out."""
        return sum(value for name, value in self.cpu.items() if name != BENCH)


class Meter:
    """Reads CPU times of named processes with all their descendants.

    ``apart`` names groups of descendants to be counted by themselves, by process id.
    """

    def __init__(
        self,
        pids: Mapping[str, int],
        apart: Callable[[], Mapping[str, tuple[str, list[int]]]] = dict,
    ) -> None:
        self._pids = dict(pids)
        self._apart = apart
        self._wall, self._cpu, self._busy, self._idle = self._read()

    def restart(self) -> None:
        """Count from now on."""
        self._wall, self._cpu, self._busy, self._idle = self._read()

    def usage(self) -> Usage:
        """Return what was used since the meter was made or restarted."""
        wall, cpu, busy, idle = self._read()
        seconds = wall - self._wall
        used = {name: cpu[name] - self._cpu.get(name, 0.0) for name in cpu}
        return Usage(
            seconds=seconds,
            cpu=used,
            others=max(0.0, busy - self._busy - sum(used.values())) / seconds,
            idle=(idle - self._idle) / seconds,
            load_average=os.getloadavg()[0],
        )

    def _read(self) -> tuple[float, dict[str, float], float, float]:
        cpu = {name: _tree(pid) for name, pid in self._pids.items()}
        for name, (of, pids) in self._apart().items():
            cpu[name] = sum(_own(pid) for pid in pids)
            cpu[of] -= cpu[name]
        times = os.times()
        cpu[BENCH] = times.user + times.system
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # user, nice, system; time that the host of a virtual machine took counts as busy.
        rest = sum(getattr(machine, name, 0.0) for name in ("irq", "softirq", "steal"))
        busy = sum(machine[:3]) + rest
        return time.monotonic(), cpu, busy, idle


def _tree(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, those that ended included."""
    process = psutil.Process(pid)
    return sum(_own(child.pid) for child in [process, *process.children(recursive=True)])


def _own(pid: int) -> float:
    try:
        return float(sum(psutil.Process(pid).cpu_times()[:4]))
    except psutil.NoSuchProcess:  # ended meanwhile; its parent has its times now
        return 0.0
