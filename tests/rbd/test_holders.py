# SPDX-License-Identifier: Apache-2.0
"""Who may have a volume open, and how Ceph cuts off who may not: nodes with addresses of their own."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.ceph.cluster import POOL, Ceph
from tests.ceph.network import Network
from tests.machines import wait_until
from tests.rbd.conftest import RbdNode, RbdSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHORT = 25
"""Seconds in which everything answers that does not wait for the cluster's judgement (30 s)."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Two nodes and the machine with Ceph."""
    with Network(2) as network:
        yield network


@pytest.fixture(scope="module")
def ceph(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster on the network's machine 0."""
    directory = tmp_path_factory.mktemp("ceph")
    with Ceph(directory, address=network.address(0), network=network.path(0)) as ceph:
        yield ceph


@pytest.fixture
def nodes(tmp_path: Path, ceph: Ceph, network: Network) -> tuple[RbdSite, RbdNode, RbdNode]:
    """Two nodes, each with an address of its own."""
    site = RbdSite(tmp_path, ceph)
    found = [site.node("n1"), site.node("n2")]
    for number, node in enumerate(found, 1):
        node.prefix = network.command(number, [])
    return site, found[0], found[1]


def holders(site: RbdSite, volume: str = "v1") -> dict[str, str]:
    """The nodes that hold a volume, and how."""
    image = json.loads(site.rbd("info", "--format", "json", f":{volume}"))["id"]
    words = site.ceph.ceph_object("rbd", site.namespace, f"ganeti-extstorage.state.{image}").splitlines()
    return {line.split()[1]: line.split()[2] for line in words if line.startswith("holder ")}


def test_living_holder_is_named_at_once(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as machine:
        assert n1.open().status == 0
        n2.uri()
        for exclusive in (True, False):
            started = time.monotonic()
            refused = n2.open(exclusive=exclusive)
            assert (refused.status, "node n1 has the volume open (exclusive)" in refused.stderr) == (7, True)
            assert time.monotonic() - started < SHORT
        assert machine.writes()
    assert holders(site) == {"n1": "exclusive"}


def test_hypervisor_that_is_just_to_start_counts_as_alive(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    _, n1, n2 = nodes
    n1.create()
    n1.open()
    assert n2.open().status == 7
    n1.ok("close")
    assert n2.open().status == 0


def test_holder_on_an_offline_node_is_fenced_from_this_volume_only(
    nodes: tuple[RbdSite, RbdNode, RbdNode],
) -> None:
    site, n1, n2 = nodes
    for volume in ("v1", "v2"):
        n1.create(volume)
    with n1.hypervisor() as machine, n1.hypervisor("v2") as other:
        n1.open()
        n1.open("v2")
        assert machine.writes()
        site.offline("n1")
        n2.uri()
        assert n2.open().status == 0
        assert holders(site) == {"n2": "exclusive"}
        assert not machine.writes()
        assert other.writes()
    # The fenced node, come back, clears away what it had, and begins anew.
    site.offline()
    n1.ok("detach")
    n2.ok("detach")
    assert holders(site) == {}
    with n1.hypervisor() as machine:
        assert n1.open().status == 0
        assert machine.writes()


def test_node_that_lost_its_network_is_found_dead(
    nodes: tuple[RbdSite, RbdNode, RbdNode], network: Network
) -> None:
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as machine:
        n1.open()
        assert machine.writes()
        n2.uri()
        network.cut(1)
        try:
            assert n2.open().status == 0
        finally:
            network.mend(1)
        assert holders(site) == {"n2": "exclusive"}
        with n2.hypervisor() as taker:
            assert taker.writes()
            assert not machine.writes()
            assert taker.writes()


def test_shared_holder_gives_way_to_an_exclusive_one(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    """Ganeti has made sure where the machine runs."""
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as source, n2.hypervisor() as target:
        n1.open(exclusive=False)
        n2.open(exclusive=False)
        assert holders(site) == {"n1": "shared", "n2": "shared"}
        assert source.writes()
        assert n2.open().status == 0
        assert holders(site) == {"n2": "exclusive"}
        assert not source.writes()
        assert target.writes()


def test_migration(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as source:
        n1.open()
        n2.uri()
        n2.ok("close")
        assert n1.open(exclusive=False).status == 0
        assert n2.open(exclusive=False).status == 0
        with n2.hypervisor() as target:
            assert source.writes()
            n1.ok("close")
            assert n2.open().status == 0
            assert target.writes()
            assert source.writes(), "nobody was in the way, so nobody was fenced"
    n1.ok("detach")
    assert holders(site) == {"n2": "exclusive"}


def test_remove_is_refused_while_another_node_holds(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    n1.open()
    assert "node n1 has the volume open" in n2.fails(7, "remove")
    assert site.volumes() == ["v1"]


def test_remove_revokes_what_is_merely_attached(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as machine:
        n2.ok("remove")
        assert not machine.writes()
    assert site.is_empty()
    n1.ok("detach")
    assert n1.left() == []


def test_remove_names_clients_that_are_no_attachment(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    with n1.hypervisor() as stranger:
        n1.ok("detach")
        assert site.ceph.address.rpartition(".")[0] in n2.fails(6, "remove")
        assert stranger.writes()
    wait_until(lambda: n2.call("remove").status == 0)


def test_of_two_that_open_at_once_one_has_it(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    for node in (n1, n2):
        node.uri()
    calls = [node.start("open", VOL_NAME="v1", VOL_OPEN_EXCLUSIVE="True") for node in (n1, n2)]
    for call in calls:
        call.communicate()
    assert sorted(call.returncode for call in calls) == [0, 7]
    assert len(holders(site)) == 1


def test_node_forget(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    n1.create()
    n1.open()
    told = site.gnt_storage_on(n2, "node", "forget", "--yes", "n1")
    assert "open, exclusive" in told
    assert "attached" in told
    assert holders(site) == {}


def test_user_that_may_not_fence(nodes: tuple[RbdSite, RbdNode, RbdNode]) -> None:
    site, n1, n2 = nodes
    keyring = site.ceph.add_user("client.meek", mon="allow r", osd=f"profile rbd pool={POOL}")
    site.set(cephx_id="meek", keyring=str(keyring))
    n1.create()
    with n1.hypervisor() as machine:
        assert machine.writes()
        assert n1.open().status == 0
        site.offline("n1")
        n2.uri()
        refused = n2.open()
        assert refused.status == 9
        assert "blocklist" in refused.stderr
        assert machine.writes(), "and so it was not taken"
    assert "blocklist" in n1.fails(9, "verify")


def test_hypervisors_at_one_address_are_not_told_apart(tmp_path: Path, ceph: Ceph, network: Network) -> None:
    site = RbdSite(tmp_path, ceph)
    n1, n2 = site.node("n1"), site.node("n2")
    n1.prefix = n2.prefix = network.command(1, [])
    n1.create()
    with n1.hypervisor() as machine:
        assert n1.open().status == 0
        site.offline("n1")
        n2.uri()
        refused = n2.open()
        assert (refused.status, "can't be cut off" in refused.stderr) == (9, True)
        assert machine.writes()
    assert holders(site) == {"n1": "exclusive"}
