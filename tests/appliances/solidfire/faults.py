# SPDX-License-Identifier: Apache-2.0
"""Faults of the modelled cluster, for requests that are written ``CreateVolume {"name": ...}``.

The kinds, and what their value is::

    error      {"name": ..., "message": ...}: the answer is this error
    late       {"name": ..., "message": ...}: the answer is this error, though the call took effect
    status     an HTTP status such as 503: the answer is that
    garbage    the answer is no JSON
    drop       the connection ends before the call takes effect
    cut        the connection ends after the call took effect, without an answer
    latency    seconds that the answer takes longer
    meanwhile  {"call": ..., "params": ...}: somebody else calls that first
    job        {"name": ..., "message": ...}: the copy that the call begins ends in this error
"""

from __future__ import annotations

from typing import Any

from tests.appliances.faults import Fault, Faults

KINDS = ("latency", "meanwhile", "drop", "status", "garbage", "error", "job", "late", "cut")


def switch_on(
    faults: Faults, kind: str, method: str = "", value: Any = None, times: int = 1, skip: int = 0
) -> None:
    """Switch a fault of a method's calls on, or of all calls."""
    if kind not in KINDS:
        raise ValueError(f"there is no fault {kind}")
    faults.add(Fault(kind, f"^{method} " if method else "", times, value, skip))


def taken(faults: Faults, request: str) -> dict[str, Any]:
    """The faults of one request: kind and value."""
    found = [faults.take(kind, request) for kind in KINDS]
    return {fault.kind: fault.value for fault in found if fault is not None}
