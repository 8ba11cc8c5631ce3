# SPDX-License-Identifier: Apache-2.0
"""How often the cluster is asked, as the manual says, however many volumes there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from extstorage_common import holders
from extstorage_common.backends.solidfire import SolidFireBackend
from extstorage_common.errors import NotFound
from tests.conftest import CHECKOUT
from tests.solidfire.conftest import NAME, SIZE, Array, initiator, properties

MANUAL = (CHECKOUT / "docs/solidfire.rst").read_text()
ROW = re.compile(r"^   \* - ([^\n]+)\n     - (\d+)\n     - ([^\n]+(?:\n       [^\n]+)*)", re.MULTILINE)
SAID = {name: (int(count), " ".join(methods.split())) for name, count, methods in ROW.findall(MANUAL)}


def created(backend: SolidFireBackend) -> None:
    with pytest.raises(NotFound):
        backend.get_volume("new")
    backend.prepare_pool()
    backend.create_volume("new", SIZE)


def attached(backend: SolidFireBackend) -> None:
    backend.initialize_connection(backend.get_volume(NAME), properties(backend.node))


def opened(backend: SolidFireBackend) -> None:
    volume = backend.get_volume(NAME)
    backend.initialize_connection(volume, properties(backend.node))
    holders.open_volume(backend, volume, True, initiator(backend.node), [])


def closed(backend: SolidFireBackend) -> None:
    holders.close_volume(backend, backend.get_volume(NAME))


def detached(backend: SolidFireBackend) -> None:
    volume = backend.get_volume(NAME)
    holders.close_volume(backend, volume)
    backend.terminate_connection(volume, properties(backend.node))


def taken_over(backend: SolidFireBackend) -> None:
    node2 = type(backend)(backend.pool, "node2", backend.deadline)
    volume = node2.get_volume(NAME)
    node2.initialize_connection(volume, properties("node2"))
    holders.open_volume(node2, volume, True, initiator("node2"), ["node1"])


def removed(backend: SolidFireBackend) -> None:
    volume = backend.get_volume(NAME)
    holders.reserve(backend, volume, [])
    backend.delete_volume(volume)


def told(backend: SolidFireBackend) -> None:
    """Ganeti tells a text right after creation."""
    backend.set_metadata(backend.get_volume(NAME), "text")


def known(backend: SolidFireBackend) -> None:
    """Both nodes are registered."""
    for node in ("node1", "node2"):
        backend.groups.register(node, properties(node))


STEPS: dict[str, tuple[Callable[[SolidFireBackend], Any], ...]] = {
    "create": (created,),
    "attach, a node's first": (attached,),
    "attach": (known, attached),
    "open": (known, told, attached, opened),
    "open, from a dead node": (known, told, attached, opened, taken_over),
    "close": (known, opened, closed),
    "detach": (known, opened, closed, detached),
    "grow": (lambda backend: backend.extend_volume(backend.get_volume(NAME), SIZE + 1),),
    "setinfo": (lambda backend: backend.set_metadata(backend.get_volume(NAME), "text"),),
    "snapshot": (lambda backend: backend.create_snapshot(backend.get_volume(NAME), "s", lambda: None),),
    "remove": (known, opened, detached, removed),
}
"""What a call does to the cluster; but for the last step of each, not counted."""

GROWING = {"attach, a node's first": "ListVolumeAccessGroups", "open, from a dead node": "ListISCSISessions"}
"""What is listed as a whole, since there is no other question: access groups, sessions."""


@pytest.mark.parametrize("others", [0, 20])
@pytest.mark.parametrize("action", STEPS)
def test_round_trips(array: Array, action: str, others: int) -> None:
    for number in range(others):
        array.attach(array.volume(f"other{number}"), "node7")
    array.volume()
    *before, counted = STEPS[action]
    for step in before:
        step(array.backend())
    array.front.calls.clear()
    array.front.connections = 0
    counted(array.backend())
    asked = list(array.front.calls)
    if action != "open, from a dead node":
        assert array.front.connections == 1
    assert (len(asked), ", ".join(method for method, _ in asked)) == SAID[action]
    for method, parameters in asked:
        if method.startswith("List"):
            assert parameters or method == GROWING[action]
