# SPDX-License-Identifier: Apache-2.0
"""Faults that a test switches on in a modelled appliance.

A fault has a kind, a pattern that the request must contain (a regular expression), how often it happens, and
a value. The front (ssh.py) knows these kinds; a model may have kinds of its own::

    hang-up    close a connection that has just been made (request: ``connect``), or that tells who logs in
               (``login``)
    latency    wait for ``value`` seconds before the request takes effect
    drop       close the connection before the request takes effect
    cut        close the connection after the request took effect, without an answer
    hang       never answer; the request (``login`` is one, too) has no effect
    no-status  answer, but tell no exit status
    noise      put the text ``value`` in front of what is answered on standard output
    flood      write ``value`` bytes to standard error before anything else
    reply      answer ``value`` (stdout, stderr, status); the request has no effect
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass
class Fault:
    """Something that goes wrong ``times`` times (0: for ever), for requests that contain ``pattern``.

    The first ``skip`` such requests go well.
    """

    kind: str
    pattern: str = ""
    times: int = 1
    value: Any = None
    skip: int = 0


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self.faults.append(fault)

    def clear(self) -> None:
        """Switch all of them off."""
        self.faults.clear()

    def take(self, kind: str, request: str) -> Fault | None:
        """The fault of this kind that happens to the request, once less to come; None if none does."""
        for fault in self.faults:
            if fault.kind != kind or not re.search(fault.pattern, request):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times == 1:
                self.faults.remove(fault)
            elif fault.times:
                fault.times -= 1
            return fault
        return None
