# SPDX-License-Identifier: Apache-2.0
"""A storage machine and two nodes, booted once; each test finds an empty volume group."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CHECKOUT
from tests.iscsi.conftest import RULES, UDEV
from tests.lab.lab import Lab
from tests.lvm.box import Box, Initiator
from tests.lvm.client import Client, Controller

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A storage node and two compute nodes, on which our modules can't be compiled any more."""
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", CHECKOUT / "extstorage_common"], check=True)
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        for machine in lab.all:
            machine.put(RULES, UDEV.read_text())
            machine.run("sync")  # some tests cut its power
        yield lab


@pytest.fixture
def box(lab: Lab) -> Iterator[Box]:
    """The storage machine with an empty volume group."""
    box = Box(lab.storage)
    box.set_up()
    yield box
    box.tear_down()


@pytest.fixture
def fresh(box: Box) -> Iterator[Box]:
    """The same with a new group, in which all that is free is full of what somebody left there."""
    box.renew()
    yield box
    box.tear_down()
    box.remove_group()


@pytest.fixture
def c1(lab: Lab, box: Box) -> Iterator[Initiator]:
    """The first node, with the kernel's own tools."""
    initiator = Initiator(lab.nodes[0], "c1")
    yield initiator
    initiator.logout()


@pytest.fixture
def c2(lab: Lab, box: Box) -> Iterator[Initiator]:
    """The second node."""
    initiator = Initiator(lab.nodes[1], "c2")
    yield initiator
    initiator.logout()


@pytest.fixture(scope="session")
def controller(lab: Lab) -> Controller:
    """The storage machine's SSH server."""
    controller = Controller(lab.storage)
    controller.set_up()
    return controller


@pytest.fixture(scope="session")
def clients(lab: Lab, controller: Controller) -> list[Client]:
    """The nodes, with keys for the controller."""
    clients = [Client(machine, controller) for machine in lab.nodes]
    Box(lab.storage).set_up()
    for client in clients:
        client.set_up()
    return clients


@pytest.fixture
def n1(box: Box, clients: list[Client]) -> Iterator[Client]:
    """The first node, which uses volumes through the controller."""
    yield clients[0]
    clients[0].tear_down()


@pytest.fixture
def n2(box: Box, clients: list[Client]) -> Iterator[Client]:
    """The second node."""
    yield clients[1]
    clients[1].tear_down()
