# SPDX-License-Identifier: Apache-2.0
"""Whole processes, their time and their memory; and a node to call scripts on."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

PROVIDERS = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "providers")
BARE = ("/usr/bin/python3", "-I", "-S", "-c", "pass")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
MILLI = 1000
TIME = "/usr/bin/time"


class Row(NamedTuple):
    """One line of a table."""

    what: str
    figure: str
    against: str
    ratio: str
    goal: str


def run(argv: tuple[str, ...], environment: dict[str, str] = ENVIRONMENT, output: str = os.devnull) -> float:
    """Run one process to its end, its stdout in the file ``output``; it must succeed. Returns seconds."""
    started = time.perf_counter()
    files = (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT),
        (2, os.devnull, os.O_WRONLY),
    )
    actions = [(os.POSIX_SPAWN_OPEN, fd, path, flags, 0o600) for fd, path, flags in files]
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(
            f"benchmark: {' '.join(argv)} failed with status {os.waitstatus_to_exitcode(status)}"
        )
    return time.perf_counter() - started


def peak(runs: int, argv: tuple[str, ...], environment: dict[str, str] = ENVIRONMENT) -> float:
    """The median of a process's peak memory in KiB.

    Started by time(1), which is small: a process counts what its parent had at its start, and this
    program is as large as what it measures.
    """
    peaks = []
    for _ in range(runs):
        with tempfile.NamedTemporaryFile() as file:
            run((TIME, "-f", "%M", "-o", file.name, *argv), environment)
            peaks.append(int(file.read()))
    return statistics.median(peaks)


class Node:
    """A node of a provider in a directory of the benchmark's own."""

    def __init__(
        self, directory: str, name: str, provider: str = "file", access: str = "kernelspace"
    ) -> None:
        self.provider = os.path.join(PROVIDERS, provider)
        self.environment = {
            **ENVIRONMENT,
            "EXTP_PROVIDER": provider,
            "EXTP_ACCESS": access,
            "EXTSTORAGE_CONFIG_DIR": f"{directory}/etc",
            "EXTSTORAGE_RUN_DIR": f"{directory}/{name}",
            "EXTSTORAGE_LOG_DIR": f"{directory}/log",
            "EXTSTORAGE_NODE": name,
            "VOL_NAME": "9746bad9-6db3-4192-898e-4f8927e5c07a.ext.disk0",
        }

    def call(self, action: str, **variables: str) -> float:
        """One call of a script."""
        return run((os.path.join(self.provider, action),), {**self.environment, **variables})


def interleave(runs: int, steps: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Take turns; the first round warms up and does not count."""
    costs: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(runs + 1):
        for name, step in steps.items():
            cost = step()
            if round_number:
                costs[name].append(cost)
    return costs


def milli(seconds: float) -> str:
    """Milliseconds for people."""
    return f"{seconds * MILLI:.1f} ms"
