# SPDX-License-Identifier: Apache-2.0
"""Ceph silent, stopped, full, refusing, or not what was configured; and clients that died in the middle."""

from __future__ import annotations

import functools
import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.ceph.cluster import POOL, Ceph
from tests.conftest import CALL_SECONDS
from tests.machines import wait_until
from tests.rbd.conftest import MIB, RbdNode, RbdSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNREACHABLE, TIMED_OUT = 8, 10
BOUND = 45
"""Seconds that show that a call has not waited for the usual deadline (50 s)."""
VARIABLES = {
    "create": {"VOL_SIZE": "16"},
    "attach": {},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "close": {},
    "detach": {},
    "setinfo": {"VOL_METADATA": "text"},
    "grow": {"VOL_SIZE": "16", "VOL_NEW_SIZE": "24"},
    "snapshot": {"VOL_SNAPSHOT_NAME": "of-snapshot", "VOL_SNAPSHOT_SIZE": "16"},
    "remove": {},
}
"""Every action, on a volume of its name."""


def begin(node: RbdNode, action: str) -> subprocess.Popen[bytes]:
    """Start an action on its volume."""
    return node.start(action, VOL_NAME=action, **VARIABLES[action])


def _succeeds(node: RbdNode, action: str) -> bool:
    return node.call(action, action, **VARIABLES[action]).status == 0


class Nodes:
    """A node for every action, with a volume to do it to; it was opened before a detach and a close."""

    def __init__(self, site: RbdSite) -> None:
        self.of = {action: site.node(f"for-{action}") for action in VARIABLES}
        for action, node in self.of.items():
            if action != "create":
                node.create(action)
            if action in ("open", "close", "detach"):
                node.uri(action)
            if action in ("close", "detach"):
                assert node.open(action).status == 0

    def run(self) -> dict[str, tuple[int, str]]:
        """Do all at once; the status and the sentence of each."""
        calls = {
            action: node.start(action, VOL_NAME=action, **VARIABLES[action])
            for action, node in self.of.items()
        }
        ended = {action: call.communicate(timeout=CALL_SECONDS) for action, call in calls.items()}
        assert all(stdout == b"" or action == "attach" for action, (stdout, _) in ended.items())
        return {action: (calls[action].returncode, said.decode()) for action, (_, said) in ended.items()}

    def work_again(self) -> bool:
        """Whether all that failed succeeds."""
        for action, node in self.of.items():
            wait_until(functools.partial(_succeeds, node, action))
        return True


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster whose OSD can be restarted, with figures of space."""
    with Ceph(tmp_path_factory.mktemp("ceph"), store="bluestore", mgr=True) as ceph:
        yield ceph


@pytest.fixture
def lasting_site(tmp_path: Path, lasting: Ceph) -> RbdSite:
    """A pool there."""
    return RbdSite(tmp_path, lasting)


def test_silent_monitor(site: RbdSite) -> None:
    nodes = Nodes(site)
    site.set(timeout="12")
    site.ceph.pause("mon.a")
    try:
        started = time.monotonic()
        ended = nodes.run()
        took = time.monotonic() - started
    finally:
        site.ceph.resume("mon.a")
    for action, (status, said) in ended.items():
        assert status == UNREACHABLE, (action, said)
        assert "the monitors did not answer in time" in said
        assert said.count("\n") == 1
    assert took < BOUND
    site.set()
    assert set(site.volumes()) == set(VARIABLES) - {"create"}
    assert nodes.work_again()


def test_monitor_that_is_gone(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    conf = site.directory / "ceph.conf"
    conf.write_text(site.ceph.conf.read_text().replace("mon_host = ", "mon_host = 127.0.0.1:1 # "))
    site.set(conf=str(conf), timeout="12")
    for action in ("attach", "remove"):
        node = site.node(f"for-{action}")
        assert "the monitors did not answer" in node.fails(UNREACHABLE, action)
    assert site.volumes() == ["v1"]


def test_silent_osd(site: RbdSite) -> None:
    nodes = Nodes(site)
    site.set(timeout="7")
    site.ceph.pause("osd.0")
    try:
        started = time.monotonic()
        ended = nodes.run()
        took = time.monotonic() - started
    finally:
        site.ceph.resume("osd.0")
    for action, (status, said) in ended.items():
        assert status in (UNREACHABLE, TIMED_OUT), (action, said)
        assert said.count("\n") == 1
    assert took < BOUND
    site.set()
    assert nodes.work_again()


def test_osd_is_killed_and_comes_back(lasting_site: RbdSite) -> None:
    """The calls of meanwhile wait for it."""
    nodes = Nodes(lasting_site)
    lasting_site.ceph.kill("osd.0")
    calls = {action: begin(node, action) for action, node in nodes.of.items()}
    lasting_site.ceph.start("osd.0")
    for action, call in calls.items():
        _, said = call.communicate(timeout=CALL_SECONDS)
        assert (call.returncode, said) == (0, b""), action
    assert set(lasting_site.volumes()) == {*VARIABLES, "of-snapshot"} - {"remove"}


def test_full_pool(lasting_site: RbdSite) -> None:
    site, node = lasting_site, lasting_site.node("n1")
    for volume in ("v1", "v2"):
        node.create(volume)
    node.put(1)
    wait_until(lambda: _has_figures(site.ceph))
    assert "free" in node.fails(11, "create", "large", VOL_SIZE=str(1 << 20))
    assert "free" in node.fails(11, "grow", VOL_SIZE="16", VOL_NEW_SIZE=str(1 << 20))
    _quota(site.ceph, "1")
    try:
        for action, variables in (("create", {"VOL_SIZE": "16"}), ("snapshot", VARIABLES["snapshot"])):
            volume = "new" if action == "create" else "v1"
            assert "full or at its quota" in node.fails(11, action, volume, **variables)
        assert site.volumes() == ["v1", "v2"]
        assert site.half_made() == []
        # To make room there must be a way to remove.
        node.uri()
        node.ok("detach")
        node.ok("remove", "v2")
    finally:
        _quota(site.ceph, "0")
    node.create("new")


def _has_figures(ceph: Ceph) -> bool:
    pools = json.loads(ceph.mon("df", format="json"))["pools"]
    return any(pool["stats"]["max_avail"] for pool in pools)


def _quota(ceph: Ceph, size: str) -> None:
    """Let the pool take so many bytes (``0``: any number), and wait until the OSDs know it."""
    ceph.mon("osd pool set-quota", pool=POOL, field="max_bytes", val=size)

    def is_full() -> bool:
        pools = json.loads(ceph.mon("osd dump", format="json"))["pools"]
        return any("full_quota" in pool["flags_names"] for pool in pools if pool["pool_name"] == POOL)

    wait_until(lambda: is_full() == (size != "0"))


def test_missing_pool(site: RbdSite, n1: RbdNode) -> None:
    site.set(rbd_pool="absent", namespace="")
    for action in ("attach", "remove", "detach"):
        assert "absent" in n1.fails(UNREACHABLE, action)
    assert "absent" in n1.fails(UNREACHABLE, "create", VOL_SIZE="16")


def test_missing_namespace(site: RbdSite, n1: RbdNode) -> None:
    """An empty one and a missing one look alike to Ceph."""
    site.set(namespace="absent")
    for action in ("attach", "remove"):
        assert "absent" in n1.fails(UNREACHABLE, action)


def test_another_cluster(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    told = site.init("gold")
    uuid = next(word for word in told.split() if "/" in word).strip(".,;")
    site.set(uuid=uuid)
    n1.uri()
    n1.ok("detach")
    site.set(uuid="11111111-2222-3333-4444-555555555555/1")
    assert "11111111-2222" in site.node("n2").fails(UNREACHABLE, "create", "v2", VOL_SIZE="16")


@pytest.mark.parametrize("content", [None, "", "[client.ganeti]\n\tkey = AQDxxx==\n"])
def test_keyring_that_is_none(site: RbdSite, n1: RbdNode, content: str | None) -> None:
    keyring = site.directory / "keyring"
    if content is not None:
        keyring.write_text(content)
    site.set(keyring=str(keyring))
    for action in ("attach", "remove"):
        status = n1.call(action).status
        assert status in (3, 9), action
    assert str(keyring) in n1.call("create", VOL_SIZE="16").stderr


def test_wrong_key(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    other = site.ceph.add_user("client.other", mon="profile rbd")
    keyring = site.directory / "keyring"
    keyring.write_text(other.read_text().replace("client.other", "client.ganeti"))
    site.set(keyring=str(keyring))
    for action in ("attach", "remove"):
        said = n1.fails(9, action)
        assert "client.ganeti" in said
        assert other.read_text().split("key = ")[1].split()[0] not in said
    assert site.volumes() == ["v1"]


def test_user_that_may_only_look(site: RbdSite, n1: RbdNode) -> None:
    keyring = site.ceph.add_user("client.looks", mon="allow r", osd=f"profile rbd-read-only pool={POOL}")
    n1.create()
    site.set(cephx_id="looks", keyring=str(keyring))
    assert "client.looks" in n1.fails(9, "create", "v2", VOL_SIZE="16")
    assert "client.looks" in n1.fails(9, "remove")
    assert site.volumes() == ["v1"]


def test_lock_of_a_dead_client(site: RbdSite) -> None:
    """Ceph gives it up when it has not heard of the client for as long as a client may be silent."""
    nodes = {action: site.node(f"for-{action}") for action in ("grow", "snapshot", "remove")}
    for action, node in nodes.items():
        node.create(action)
        with node.hypervisor(action) as machine:
            assert machine.writes()
        node.ok("detach", action)
    calls = {action: begin(node, action) for action, node in nodes.items()}
    for action, call in calls.items():
        _, said = call.communicate(timeout=CALL_SECONDS)
        assert (call.returncode, said) == (0, b""), action
    assert set(site.volumes()) == {"grow", "snapshot", "of-snapshot"}


def test_two_attach_at_once(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    calls = [n1.start("attach", VOL_NAME="v1") for _ in range(4)]
    printed = [call.communicate(timeout=CALL_SECONDS) for call in calls]
    assert len(set(printed)) == 1
    assert printed[0][1] == b""
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()


def test_two_create_at_once(site: RbdSite, n1: RbdNode, n2: RbdNode) -> None:
    calls = [node.start("create", VOL_NAME="v1", VOL_SIZE="16") for node in (n1, n2)]
    for call in calls:
        call.communicate(timeout=CALL_SECONDS)
    assert sorted(call.returncode for call in calls)[0] == 0
    assert sorted(call.returncode for call in calls)[1] in (5, 6)
    assert site.volumes() == ["v1"]
    assert site.half_made() == []


def test_image_in_use_by_hand(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    image = site.spec("v1")
    line = f"rbd:{image}:id=ganeti:conf={site.options['conf']}:keyring={site.options['keyring']}"
    stranger = subprocess.Popen(["qemu-io", "-f", "raw", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert stranger.stdout is not None
        stranger.stdout.read(1)
        assert "rbd status" in n1.fails(6, "remove")
    finally:
        stranger.kill()
        stranger.communicate()
    assert site.volumes() == ["v1"]


def test_image_in_use_for_a_moment(site: RbdSite, n1: RbdNode) -> None:
    """As by the purge of a clone, which opens the image that it was made from, and soon ends."""
    n1.create()
    image = json.loads(site.rbd("info", "--format", "json", ":v1"))["id"]
    asked = threading.Event()
    watch = site.ioctx().watch(f"rbd_header.{image}", lambda *_: asked.set())
    call = n1.start("remove", VOL_NAME="v1")
    assert asked.wait(60)
    watch.close()
    assert (call.wait(CALL_SECONDS), call.communicate()) == (0, (b"", b""))
    assert site.is_empty()


def test_image_locked_by_hand(site: RbdSite, n1: RbdNode) -> None:
    """Ceph waits for such a lock without end."""
    n1.create()
    site.rbd("lock", "add", ":v1", "mine")
    advice = n1.fails(6, "remove").rpartition(": ")[2]
    assert advice.startswith("rbd lock remove ")
    site.rbd(*advice.split()[1:])
    n1.ok("remove")
    assert site.is_empty()


def test_image_that_is_being_migrated(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    site.rbd("migration", "prepare", "--object-size", "8M", ":v1", ":v1")
    assert "being migrated" in n1.fails(6, "remove")
    site.rbd("migration", "execute", "--no-progress", ":v1")
    site.rbd("migration", "commit", "--no-progress", ":v1")
    n1.ok("remove")
    assert site.is_empty()


def test_grown_by_hand_is_announced(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    site.rbd("resize", "--no-progress", "--size", "32M", ":v1")
    assert n1.grow(16, 24).status == 0
    assert json.loads(site.rbd("info", "--format", "json", ":v1"))["size"] == 32 * MIB
