# SPDX-License-Identifier: Apache-2.0
"""Faults that can be switched on, each for a method and for a number of calls."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

KINDS = ("error", "status", "cut", "latency", "garbage", "meanwhile", "job")


@dataclass
class Fault:
    """What goes wrong with calls of ``method`` (``*``: of any), ``times`` times.

    ``error``: the answer is the error ``name``, ``message``. ``status``: it is an HTTP status, such as 503.
    ``cut``: the connection ends without an answer; with ``effect`` *after* the call has been done.
    ``latency``: the answer takes ``seconds`` longer. ``garbage``: it is no JSON. ``meanwhile``: before
    the call, somebody else calls ``call`` with ``params``. ``job``: the copy that the call begins ends in the
    error. With ``skip``, that many calls go well first.
    """

    kind: str
    method: str = "*"
    times: int = 1
    skip: int = 0
    name: str = ""
    message: str = ""
    status: int = 503
    seconds: float = 0.0
    effect: bool = False
    call: str = ""
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind}")


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pending: list[Fault] = []

    def add(self, **members: Any) -> None:
        """Switch one on."""
        fault = Fault(**members)
        with self.lock:
            self.pending.append(fault)

    def clear(self) -> None:
        """Switch all off."""
        with self.lock:
            self.pending.clear()

    def take(self, method: str) -> list[Fault]:
        """The faults of one call, which count as used then."""
        taken = []
        with self.lock:
            for fault in self.pending:
                if fault.method not in ("*", method):
                    continue
                if fault.skip:
                    fault.skip -= 1
                elif fault.times:
                    fault.times -= 1
                    taken.append(fault)
            self.pending = [fault for fault in self.pending if fault.times]
        return taken
