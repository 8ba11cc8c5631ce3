# SPDX-License-Identifier: Apache-2.0
"""One lab for all arrays; each test finds its array and the nodes empty, and leaves nothing on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.arrays.array import ArrayNode
from tests.arrays.comstar import Comstar
from tests.arrays.lefthand import LeftHand
from tests.arrays.solidfire import SolidFire
from tests.lab.calls import compile_libraries
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.arrays.array import Array

    Start = tuple[Array, list[ArrayNode]]

KINDS: dict[str, type[Array]] = {kind.NAME: kind for kind in (Comstar, LeftHand, SolidFire)}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A storage node and two compute nodes, which see compiled modules."""
    compile_libraries()
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        yield lab


@pytest.fixture(scope="session")
def started(lab: Lab) -> Iterator[Callable[[str], Start]]:
    """Starts an array by its provider's name, once; that, and the lab's nodes with the provider."""
    there: dict[str, Start] = {}

    def start(name: str) -> Start:
        if name not in there:
            array = KINDS[name](lab)
            there[name] = array, [ArrayNode(machine, array) for machine in lab.nodes]
        return there[name]

    yield start
    for array, _ in there.values():
        array.machine.stop()


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, started: Callable[[str], Start]) -> Iterator[list[ArrayNode]]:
    """Two nodes with an empty array: ``NAME``, or ``NAME-POOL`` for another pool than the usual."""
    name, _, pool = request.param.partition("-")
    array, nodes = started(name)
    array.begin()
    array.pool = pool or array.POOLS[0]
    for node in nodes:
        node.configure()
    yield nodes
    array.back()
    for node in nodes:
        node.forget()
    array.begin()


@pytest.fixture
def array(both: list[ArrayNode]) -> Array:
    """The array of the two nodes."""
    return both[0].array
