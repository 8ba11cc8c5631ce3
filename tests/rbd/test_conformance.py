# SPDX-License-Identifier: Apache-2.0
"""The whole conformance suite, with volumes that QEMU's tools see: nodes with addresses of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ceph.cluster import Ceph
from tests.ceph.network import Network
from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT
from tests.rbd.conftest import RbdSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = 3


class RbdSuite(Suite):
    """The suite on the machines of a network."""

    def __init__(self, site: RbdSite, network: Network) -> None:
        super().__init__(site.directory, NODES, {"EXTSTORAGE_CONFIG_DIR": str(site.config)})
        self.site = site
        self.network = network
        self.away = self.back = ""

    def prefix(self, number: int) -> str:
        return f"nsenter --net={self.network.path(number)} {super().prefix(number)}"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Three nodes and the machine with Ceph."""
    with Network(NODES) as network:
        yield network


@pytest.fixture(scope="module")
def ceph(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster on the network's machine 0."""
    directory = tmp_path_factory.mktemp("ceph")
    with Ceph(directory, address=network.address(0), network=network.path(0)) as ceph:
        yield ceph


@pytest.fixture
def suite(tmp_path: Path, ceph: Ceph, network: Network) -> RbdSuite:
    """Nodes, and a pool whose volumes have no device."""
    return RbdSuite(RbdSite(tmp_path, ceph), network)


def test_userspace(suite: RbdSuite) -> None:
    status, results, stderr = suite.run(CHECKOUT / "providers/rbd", "--access", "userspace")
    wrong = {name: one["outcome"] for name, one in results.items() if one["outcome"] != "passed"}
    deviceless = {"busy-device-stays": "not run", "detach-takes-the-device-away": "not run"}
    # A hypervisor that has not opened the image yet counts as alive for a minute.
    refused = {"ganeti-failover-dead-node": "refused by provider"}
    away = {name: "not run" for name in results if name.startswith("away-")}
    assert wrong == {**deviceless, **refused, **away}, stderr
    assert (status, len(away)) == (0, 5)
    assert len(results) > 90
    assert suite.site.is_empty()


def test_userspace_while_the_osd_is_silent(suite: RbdSuite, ceph: Ceph) -> None:
    # An OSD that is silent for longer counts as down when it goes on, and clients wait for it to be up again.
    suite.site.set(timeout="8")
    osd = ceph.pid("osd.0")
    suite.away, suite.back = f"kill -STOP {osd}", f"kill -CONT {osd}"
    arguments = ("--access", "userspace", "--case", "away-*")
    status, results, stderr = suite.run(CHECKOUT / "providers/rbd", *arguments)
    assert [one["outcome"] for one in results.values()] == ["passed"] * 5, stderr
    assert status == 0
