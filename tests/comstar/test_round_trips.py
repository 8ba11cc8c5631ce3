# SPDX-License-Identifier: Apache-2.0
"""How often the machine is asked, as the manual says, however many volumes there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from extstorage_common import holders
from extstorage_common.backends.comstar import ComstarBackend
from tests.comstar.conftest import Site, attach, detach, initiator
from tests.conftest import CHECKOUT

MANUAL = (CHECKOUT / "docs/comstar.rst").read_text()
ROW = re.compile(r"^   \* - ([^\n]+)\n     - (\d+)\n     - ([^\n]+(?:\n       [^\n]+)*)", re.MULTILINE)
SAID = {name: (int(count), " ".join(commands.split())) for name, count, commands in ROW.findall(MANUAL)}


def opened(backend: ComstarBackend) -> None:
    volume = backend.get_volume("v1")
    backend.initialize_connection(volume, {"initiator": initiator(backend.node)})
    holders.open_volume(backend, volume, True, initiator(backend.node), [])


def closed(backend: ComstarBackend) -> None:
    holders.close_volume(backend, backend.get_volume("v1"))


def detached(backend: ComstarBackend) -> None:
    volume = backend.get_volume("v1")
    holders.close_volume(backend, volume)
    backend.terminate_connection(volume, {"initiator": initiator(backend.node)})


def removed(backend: ComstarBackend) -> None:
    volume = backend.get_volume("v1")
    holders.reserve(backend, volume, [])
    backend.delete_volume(volume)


def created(backend: ComstarBackend) -> None:
    with pytest.raises(Exception, match="no such volume"):
        backend.get_volume("v9")
    backend.create_volume("v9", 16)


def short(line: str) -> str:
    """A line's command and subcommand, without what is about a secret's file."""
    return " ".join(line.partition("LC_ALL=C pfexec /usr/sbin/")[2].split()[:2])


STEPS: dict[str, tuple[Callable[[ComstarBackend], Any], ...]] = {
    "create": (created,),
    "attach, a node's first": (attach,),
    "attach, a volume's first": (lambda backend: attach(backend, "v2"), attach),
    "attach": (attach, detach, attach),
    "open": (attach, opened),
    "close": (attach, opened, closed),
    "detach": (attach, opened, detached),
    "grow": (attach, lambda backend: backend.extend_volume(backend.get_volume("v1"), 32)),
    "setinfo": (lambda backend: backend.set_metadata(backend.get_volume("v1"), "text"),),
    "snapshot": (lambda backend: backend.create_snapshot(backend.get_volume("v1"), "s", lambda: None),),
    "remove": (attach, removed),
}
"""What a call does to the machine; but for the last step of each, not counted."""


@pytest.mark.parametrize("others", [0, 20])
@pytest.mark.parametrize("action", STEPS)
def test_round_trips(site: Site, action: str, others: int) -> None:
    for number in range(others):
        other = site.backend("n7")
        other.create_volume(f"other{number}", 16)
        if number < 3:
            attach(other, f"other{number}")
    for name in ("v1", "v2"):
        site.backend().create_volume(name, 16)
    *before, counted = STEPS[action]
    for step in before:
        step(site.backend())
    site.machine.requests()
    site.machine.order(connections=True)
    counted(site.backend())
    lines = site.machine.requests()
    assert site.machine.order(connections=True) == 1
    assert (len(lines), ", ".join(map(short, lines))) == SAID[action]
