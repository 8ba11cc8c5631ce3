# SPDX-License-Identifier: Apache-2.0
"""A disk through two portals: one device, which one dead path does not harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.iscsi.conftest import Disk, Failure, Initiator
from tests.iscsi.test_secrets import watch
from tests.lab.lab import Lab
from tests.machines import wait_until

SLOW = 40.0
"""What a login to a dead portal takes, and all that is around it."""


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[None]:
    """The node with multipathd."""
    node = lab.nodes[0]
    node.run("multipathd && until multipathd show status >/dev/null 2>&1; do sleep 0.05; done")
    yield
    node.run("multipathd shutdown; while pidof multipathd >/dev/null; do sleep 0.05; done")


@pytest.fixture
def node(lab: Lab, daemon: None) -> Iterator[Initiator]:
    initiator = Initiator(lab.nodes[0])
    yield initiator
    leftovers = initiator.leftovers()
    initiator.node.run("multipath -F", check=False)
    initiator.clear()
    assert leftovers == []
    assert "\n/3" not in initiator.node.run("cat /etc/multipath/wwids", check=False).stdout


@pytest.fixture
def wide(lab: Lab) -> Iterator[Disk]:
    """A disk of 16 MiB behind two portals."""
    disk = Disk(lab.storage, "wide", 16, [f"{address}:3260" for address in lab.storage.addresses[1:]])
    yield disk
    disk.destroy()


def paths(node: Initiator, device: str) -> int:
    return len(node.node.run(f"ls /sys/block/{device.removeprefix('/dev/')}/slaves").stdout.split())


def test_it_comes_grows_and_goes(node: Initiator, wide: Disk) -> None:
    Initiator(node.node, "os_brick").call("validate_connector")
    device = node.connect(wide.let_in(node.node))
    assert device.startswith("/dev/dm-")
    wait_until(lambda: paths(node, device) == 2)  # multipathd may add the second one later
    wide.extend(32)
    data = wide.connection(node.node)
    node.call("extend_volume", data, device)
    assert node.node.run(f"blockdev --getsize64 {device}").stdout.strip() == str(32 << 20)
    assert node.call("is_connected", data, device)
    assert node.connect(data) == device
    ((_, identity),) = node.call("identity", device)
    assert identity == f"mpath-3{data['wwn'].removeprefix('naa.')}"
    node.disconnect(data, device)
    assert node.leftovers() == []
    node.cleanup(data)


def test_no_secret_is_seen(node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    with watch(node, [data[key] for key in ("auth_password", "mutual_auth_password")]) as seen:
        for _ in range(50):
            device = node.connect(data)
            node.disconnect(data, device)
            if not node.node.run("[ -e /tmp/login-seen ]", check=False).returncode:
                break
    assert seen.logins
    assert seen.findings == []


def test_mutual_secrets_are_checked(node: Initiator, wide: Disk) -> None:
    data = {**wide.let_in(node.node), "mutual_auth_password": "not-the-secret"}
    assert "do not trust each other" in node.fails(9, "connect_volume", data)
    node.cleanup(data)


def test_one_portal_is_dead_at_attach(lab: Lab, node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    lab.storage.unplug(1)
    try:
        device = node.connect(data)
        assert node.seconds < SLOW
        assert device.startswith("/dev/dm-")
        assert paths(node, device) == 1
    finally:
        lab.storage.plug(1)
    node.disconnect(data, device)


@pytest.mark.parametrize("lan", [1, 2])
def test_one_portal_has_just_died(lab: Lab, node: Initiator, wide: Disk, lan: int) -> None:
    """Nobody has noticed yet; the device answers all the same."""
    data = wide.let_in(node.node)
    device = node.connect(data)
    wait_until(lambda: paths(node, device) == 2)
    lab.storage.unplug(lan)
    try:
        assert node.call("is_connected", data, device)
    finally:
        lab.storage.plug(lan)
    node.disconnect(data, device)


def test_one_portal_dies_under_io(lab: Lab, node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    device = node.connect(data)
    wait_until(lambda: paths(node, device) == 2)
    lab.storage.unplug(1)
    try:
        for step in range(4):
            write = (
                f"dd if=/dev/urandom of={device} bs=64k count=16 seek={step * 16} oflag=direct status=none"
            )
            node.node.run(write)
        assert node.call("is_connected", data, device)
        node.disconnect(data, device)
        assert node.seconds < SLOW
        assert node.leftovers() == []
    finally:
        lab.storage.plug(1)


def test_storage_is_away_at_detach(lab: Lab, node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    device = node.connect(data)
    name = node.node.run(f"cat /sys/block/{device.removeprefix('/dev/')}/dm/name").stdout.strip()
    node.node.run(f"dmsetup message {name} 0 queue_if_no_path")
    for lan in (1, 2):
        lab.storage.unplug(lan)
    try:
        node.disconnect(data, device)
        assert node.seconds < SLOW
        assert node.leftovers() == []
    finally:
        for lan in (1, 2):
            lab.storage.plug(lan)


def test_detach_while_it_is_open(node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    device = node.connect(data)
    node.node.run(f"sleep 1000 <{device} >/dev/null 2>&1 & echo $! >/tmp/sleeper")
    kept, identity = node.call("kept", data), node.call("identity", device)
    assert "sleep (process" in node.fails(6, "disconnect_volume", kept, device, identity)
    assert node.call("is_connected", data, device)
    node.node.run("kill $(cat /tmp/sleeper)")
    node.disconnect(data, device)


def test_fenced_and_let_in_again(node: Initiator, wide: Disk) -> None:
    device = node.connect(wide.let_in(node.node))
    wide.lock_out(node.node)
    data = wide.let_in(node.node)
    wait_until(lambda: "LOGGED_IN" not in node.session_state())
    assert not node.call("is_connected", data, device)
    node.cleanup(data)
    device = node.connect(data)
    assert node.call("is_connected", data, device)
    node.disconnect(data, device)


def test_killed_while_connecting(node: Initiator, wide: Disk) -> None:
    data = wide.let_in(node.node)
    with pytest.raises(Failure):
        node.call("connect_volume", data, crash_at="iscsi.logged_in")
    node.cleanup(data)


def test_one_portal_on_request(node: Initiator, disk: Disk) -> None:
    data = {**disk.let_in(node.node), "connector": "os-brick"}
    device = node.connect(data)
    assert "target_portals" in node.call("kept", data)
    assert device.startswith("/dev/sd")
    assert node.call("is_connected", data, device)
    node.disconnect(data, device)
