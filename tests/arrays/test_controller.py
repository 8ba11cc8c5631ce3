# SPDX-License-Identifier: Apache-2.0
"""Nodes that only use volumes: the storage machine of the lab alone may ask the arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.arrays.array import CONFIG, LINK, Array, ArrayNode
from tests.conftest import MIB
from tests.lvm.client import KEYGEN, Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab

POOL = """\
[DEFAULT]
controller = {address}
[{pool}]
"""


@pytest.fixture
def consumers(lab: Lab, both: list[ArrayNode], array: Array) -> Iterator[list[ArrayNode]]:
    """The nodes, which have nothing but a key for the controller."""
    controller = Controller(lab.storage)
    controller.set_up()
    for name, text in {**array.files(), f"{array.NAME}.conf": array.configuration("")}.items():
        lab.storage.put(f"{CONFIG}/{name}", text, 0o600)
    for node in both:
        for name in array.files():
            node.sh(f"rm {CONFIG}/{name}")
        node.sh(f"rm -f {CONFIG}/controller_key*; {KEYGEN} {CONFIG}/controller_key")
        node.machine.put(f"{CONFIG}/known_hosts", controller.host_key())
        text = POOL.format(address=controller.address, pool=array.pool)
        node.machine.put(f"{CONFIG}/{array.NAME}.conf", text)
        controller.authorize(node.name, node.sh(f"cat {CONFIG}/controller_key.pub"), array.NAME)
    yield both
    controller.stop()
    for node in both:
        node.install()


def test_a_volumes_life(consumers: list[ArrayNode], array: Array) -> None:
    """All of it is asked of the controller, and the disk comes from the array."""
    n1, n2 = consumers
    n1.create()
    assert n1.attach() == LINK
    assert n1.disk("wwid").startswith(array.WWID)
    assert n1.open().status == 0
    assert n1.write("before")
    n1.ok("setinfo", VOL_METADATA="originstname+web")
    assert n1.snapshot().status == 0
    assert n1.grow(array.SIZE, array.SIZE + 8).status == 0
    assert n1.size(LINK) == (array.SIZE + 8) * MIB
    n2.attach()
    assert f"node {n1.name} has the volume open" in n2.open().stderr
    for node in consumers:
        assert node.open(exclusive=False).status == 0
    n1.ok("close")
    assert n2.open().status == 0
    n1.ok("detach")
    assert n1.left() == []
    assert n2.write("after")
    n2.attach("v1.snap")
    assert n2.read("v1.snap") == "before"
    for name in ("v1.snap", "v1"):
        n2.ok("detach", name)
        n2.ok("remove", name)
    assert n2.left() == []
    assert array.volumes() == []


def test_a_node_that_is_taken_from(consumers: list[ArrayNode]) -> None:
    """The controller fences it, on the word of the node that takes the volume."""
    n1, n2 = consumers
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n2.attach()
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n2.write("mine")
    n1.ok("detach")
    assert n1.left() == []
    n2.mark_offline()
    n1.attach()
    assert n1.read() == "mine"


def test_an_array_that_is_away(consumers: list[ArrayNode], array: Array) -> None:
    """The controller says so, in one sentence; the node disconnects, and the rest is finished later."""
    n1, _ = consumers
    n1.create()
    n1.attach()
    array.away()
    n1.fails(8, "detach")
    array.back()
    n1.try_again()
    array.machine.node.run("rm -rf /run/ganeti-extstorage/timed-out")
    n1.ok("detach")
    assert n1.left() == []
