"""What a program costs: CPU time and memory of a process with everything that it started."""

import os
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU time used so far by a process, its descendants, and those that have ended."""
    return sum(sum(map(int, stat[11:15])) for stat in _tree(pid).values()) / TICKS_PER_S


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants; what they share is counted once."""
    return sum(_proportional_bytes(each) for each in _tree(pid))


def children(pid: int) -> set[int]:
    return {each for each, stat in _stats() if int(stat[1]) == pid}


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _tree(pid: int) -> dict[int, list[str]]:
    """Map each process of the tree to the fields of its stat, from its state on (proc(5))."""
    stats = dict(_stats())
    tree: dict[int, list[str]] = {}
    todo = [pid]
    while todo:
        parent = todo.pop()
        if parent in stats:
            tree[parent] = stats[parent]
            todo += [each for each, stat in stats.items() if int(stat[1]) == parent]
    return tree


def _stats() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue  # ended just now
            # The program's name comes before, in brackets, and may hold anything.
            yield int(folder.name), text.rpartition(")")[2].split()
