# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a node and a target: one sentence, bounded time, nothing left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.iscsi.conftest import Disk, Failure, Initiator
from tests.machines import wait_until

if TYPE_CHECKING:
    from tests.lab.lab import Lab

LOGIN_SECONDS = 30.0
"""What a login that gets no answer takes at most, with all that is around it."""
DROPPING = """
import socket, sys, threading

def address(word):
    host, port = word.split(":")
    return host, int(port)

def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

server = socket.create_server(address(sys.argv[1]))
silent, _ = server.accept()
while True:
    client, _ = server.accept()
    target = socket.create_connection(address(sys.argv[2]))
    for ends in (client, target), (target, client):
        threading.Thread(target=pump, args=ends, daemon=True).start()
"""
"""A portal that does not answer the first connection, and is another one's for the others."""


def test_wrong_secret(node: Initiator, disk: Disk) -> None:
    data = {**disk.let_in(node.node), "auth_password": "not-the-secret"}
    assert "does not let this node in" in node.fails(9, "connect_volume", data)
    node.cleanup(data)


def test_target_that_can_not_prove_who_it_is(node: Initiator, disk: Disk) -> None:
    data = {**disk.let_in(node.node), "mutual_auth_password": "not-the-secret"}
    assert "do not trust each other" in node.fails(9, "connect_volume", data)
    node.cleanup(data)


def test_not_on_the_access_list(node: Initiator, other: Initiator, disk: Disk) -> None:
    disk.let_in(other.node)
    data = {**disk.connection(other.node)}
    assert "does not let this node in" in node.fails(9, "connect_volume", data)
    node.cleanup(data)


def test_portal_does_not_answer(lab: Lab, node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    lab.storage.unplug(1)
    try:
        assert "does not answer" in node.fails(8, "connect_volume", data)
        assert node.seconds < LOGIN_SECONDS
        node.cleanup(data)
    finally:
        lab.storage.plug(1)


def test_target_is_gone(node: Initiator, other: Initiator, disk: Disk, lab: Lab) -> None:
    """Another target's portal still answers there."""
    data = disk.let_in(node.node)
    disk.unexport()
    neighbour = Disk(lab.storage, "neighbour", 4, disk.portals)
    neighbour.let_in(node.node)
    assert "answers, but not for target" in node.fails(8, "connect_volume", data)
    assert node.seconds < LOGIN_SECONDS
    node.cleanup(data)
    neighbour.destroy()


def test_deadline_bounds_a_login(lab: Lab, node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    lab.storage.unplug(1)
    try:
        # The daemon has given up before; else the call would be out of time.
        assert "does not answer" in node.fails(8, "connect_volume", data, seconds=10.0)
        node.cleanup(data)
    finally:
        lab.storage.plug(1)
    # Nothing goes on after that.
    device = node.connect(data)
    node.disconnect(data, device)


def test_login_that_was_dropped_is_tried_again(lab: Lab, node: Initiator, disk: Disk) -> None:
    """Linux drops those in progress while another target of the portal is switched on or off."""
    data = disk.let_in(node.node)
    portal = f"{lab.storage.addresses[1]}:3261"
    lab.storage.put("/run/dropping.py", DROPPING)
    lab.storage.run(
        f"exec python3 /run/dropping.py {portal} {disk.portals[0]} >/dev/null 2>&1 & echo $! >/run/dropping"
    )
    wait_until(lambda: lab.storage.run(f"ss -Hltn src {portal}").stdout)
    try:
        device = node.connect({**data, "target_portal": portal, "target_portals": [portal]})
        node.disconnect({**data, "target_portal": portal, "target_portals": [portal]}, device)
    finally:
        lab.storage.run("kill $(cat /run/dropping)")


def test_daemon_goes_on_with_the_login_of_a_call_that_was_killed(
    lab: Lab, node: Initiator, disk: Disk
) -> None:
    data = disk.let_in(node.node)
    with pytest.raises(Failure):
        node.call("connect_volume", data, crash_at="iscsi.recorded")
    lab.storage.unplug(1)
    try:
        login = f"iscsiadm -m node -T {disk.iqn} -p {disk.portals[0]} --login"
        node.node.run(f"timeout -s KILL 1 {login}", check=False)
    finally:
        lab.storage.plug(1)
    device = node.connect(data)
    node.disconnect(data, device)


def test_another_disk_than_was_said(node: Initiator, disk: Disk) -> None:
    data = {**disk.let_in(node.node), "wwn": "naa.60014050000000000000000000000000"}
    assert "is not this volume" in node.fails(12, "connect_volume", data)
    # It is not ours, so it is left alone, until the right name is known.
    node.cleanup(disk.connection(node.node))


def test_target_without_the_disk(node: Initiator, disk: Disk) -> None:
    data = {**disk.let_in(node.node), "target_lun": 7}
    assert "has no disk 7" in node.fails(8, "connect_volume", data)
    node.cleanup(data)


def test_empty_record_of_a_power_cut(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    directory = f"/etc/iscsi/nodes/{disk.iqn}"
    node.node.run(f"mkdir -p {directory}; : >{directory}/{disk.portals[0].replace(':', ',')}")
    device = node.connect(data)
    node.disconnect(data, device)


@pytest.mark.parametrize("what", ["rm -r {directory}", ": >{directory}/{file}"], ids=["gone", "empty"])
def test_record_that_was_lost_under_a_session(node: Initiator, disk: Disk, what: str) -> None:
    """A login that takes longer than its call is one without a record, too."""
    data = disk.let_in(node.node)
    device = node.connect(data)
    file = disk.portals[0].replace(":", ",")
    node.node.run(what.format(directory=f"/etc/iscsi/nodes/{disk.iqn}", file=file))
    node.disconnect(data, device)
    assert node.seconds < LOGIN_SECONDS


def test_empty_record_of_discovery(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    directory = f"/etc/iscsi/nodes/{disk.iqn}/{disk.portals[0].replace(':', ',')},1"
    node.node.run(f"mkdir -p {directory}; : >{directory}/default")
    device = node.connect(data)
    node.disconnect(data, device)


def test_lock_of_an_iscsiadm_that_was_killed(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    node.node.run("mkdir -p /run/lock/iscsi; touch /run/lock/iscsi/lock /run/lock/iscsi/lock.write")
    old = "test $(($(date +%s) - $(stat -c %Z /run/lock/iscsi/lock.write))) -gt 10"
    wait_until(lambda: node.node.run(old, check=False).returncode == 0)
    device = node.connect(data)
    assert node.seconds < LOGIN_SECONDS
    node.disconnect(data, device)


@pytest.mark.parametrize("point", ["iscsi.recorded", "iscsi.logged_in"])
def test_killed_while_connecting(node: Initiator, disk: Disk, point: str) -> None:
    data = disk.let_in(node.node)
    with pytest.raises(Failure):
        node.call("connect_volume", data, crash_at=point)
    assert node.leftovers() != []
    node.cleanup(data)
    assert node.leftovers() == []
    with pytest.raises(Failure):
        node.call("connect_volume", data, crash_at=point)
    node.disconnect(data, node.connect(data))


def test_session_of_before_with_secrets_of_before(node: Initiator, disk: Disk) -> None:
    """Fenced and let in again: the session that waits to come back is ended, and a new one begun."""
    node.connect(disk.let_in(node.node))
    disk.lock_out(node.node)
    data = disk.let_in(node.node)
    wait_until(lambda: node.session_state() != "LOGGED_IN")
    device = node.connect(data)
    assert node.call("is_connected", data, device)
    node.disconnect(data, device)


def test_fenced(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    disk.lock_out(node.node)
    wait_until(lambda: node.session_state() != "LOGGED_IN")
    assert not node.call("is_connected", data, device)
    assert "does not answer" in node.fails(8, "extend_volume", data, device)
    node.disconnect(data, device)
    assert node.seconds < LOGIN_SECONDS


def test_storage_is_away_at_detach(lab: Lab, node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    lab.storage.unplug(1)
    try:
        node.disconnect(data, device)
        assert node.leftovers() == []
        assert node.seconds < LOGIN_SECONDS
    finally:
        lab.storage.plug(1)


def test_detach_while_it_is_open(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    node.node.run(f"sleep 1000 <{device} >/dev/null 2>&1 & echo $! >/tmp/sleeper")
    kept, identity = node.call("kept", data), node.call("identity", device)
    assert "sleep (process" in node.fails(6, "disconnect_volume", kept, device, identity)
    assert node.call("is_connected", data, device)
    node.node.run("kill $(cat /tmp/sleeper)")
    node.disconnect(data, device)


def test_detach_while_it_is_mounted(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    node.node.run(f"mkfs.ext4 -q {device} && mount {device} /mnt")
    kept, identity = node.call("kept", data), node.call("identity", device)
    assert "mounted on /mnt" in node.fails(6, "disconnect_volume", kept, device, identity)
    node.node.run("umount /mnt")
    node.disconnect(data, device)


def test_session_of_somebody_else_is_used_and_left(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    record = f"iscsiadm -m node -T {disk.iqn} -p {disk.portals[0]}"
    values = {
        "node.session.scan": "manual",
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.username": data["auth_username"],
        "node.session.auth.password": data["auth_password"],
    }
    updates = "".join(f"{record} -o update -n {key} -v {value} && " for key, value in values.items())
    node.node.run(f"{record} -o new && {updates} {record} --login")
    device = node.connect(data)
    node.disconnect(data, device)
    assert node.session_state() == "LOGGED_IN"
    node.node.run(f"{record} --logout && {record} -o delete")
    # The kernel ends it in its own time.
    wait_until(lambda: not node.session_state())


def test_daemon_is_started_anew_and_the_connection_breaks(lab: Lab, node: Initiator, disk: Disk) -> None:
    """The session finds its way back with the secrets of its record."""
    data = disk.let_in(node.node)
    device = node.connect(data)
    node.node.run("kill -9 $(pidof iscsid); rm -f /run/iscsid.pid; iscsid")
    lab.storage.unplug(1)
    wait_until(lambda: node.session_state() != "LOGGED_IN")
    lab.storage.plug(1)
    wait_until(lambda: node.session_state() == "LOGGED_IN")
    assert node.call("is_connected", data, device)
    node.disconnect(data, device)


def test_daemon_is_started_anew_while_it_is_needed(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    away = "kill -9 $(pidof iscsid); rm -f /run/iscsid.pid; (sleep 3; exec iscsid) >/dev/null 2>&1 &"
    node.node.run(away)
    device = node.connect(data)
    node.node.run(away)
    node.disconnect(data, device)


def test_daemon_is_not_running(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    node.node.run("kill -9 $(pidof iscsid); rm -f /run/iscsid.pid")
    try:
        assert "iscsid is not running" in node.fails(3, "validate_connector")
        assert "iscsid" in node.fails(3, "connect_volume", data)
        assert node.seconds < LOGIN_SECONDS
    finally:
        node.node.run("iscsid")
    node.cleanup(data)
