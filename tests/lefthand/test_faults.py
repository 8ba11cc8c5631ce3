# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a node and the array, and what becomes of it."""

from __future__ import annotations

import os

import pytest

from extstorage_common.backends.lefthand_cliq import CliqRefused, NotCliq
from extstorage_common.errors import Unreachable, VolumeNotFound
from tests.conftest import Node
from tests.lefthand.conftest import ArraySite

EMPTY: dict[str, dict[str, str]] = {"volumes": {}, "snapshots": {}, "servers": {}}
INITIATOR = {"initiator": "iqn.2026-01.test:n1"}


def life(site: ArraySite) -> None:
    """All that changes the array, but for assignments; the faults are over by the end of it."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.set_metadata(volume, "x")
    assert backend.extend_volume(volume, 32).size == 32 << 20
    snapshot = backend.create_snapshot(volume, "v1.snap", lambda: None)
    assert backend.origin(site.backend("n1").get_volume("v1.snap")) == "v1"
    backend.delete_volume(snapshot)
    backend.delete_volume(volume)
    with pytest.raises(VolumeNotFound):
        backend.get_volume("v1")
    assert site.state() == EMPTY
    assert site.array.call("ignored") == []


@pytest.mark.parametrize(
    "pattern",
    [
        "createVolume volumeName=v1",
        "createVolume volumeName=gx-claim",
        "modifyVolume .*description",
        "modifyVolume .*size",
        "createSnapshot",
        "cloneSnapshot",
        "deleteVolume volumeName=gx-claim",
        "deleteVolume volumeName=v1.snap",
        "deleteSnapshot",
        "deleteVolume volumeName=v1 ",
        "getVolumeInfo",
    ],
)
@pytest.mark.parametrize("kind", ["cut", "drop"])
def test_an_answer_that_is_lost(site: ArraySite, kind: str, pattern: str) -> None:
    """Whether the command took effect or not: it is given again, and what is then found is our own."""
    site.array.fault(kind, pattern)
    life(site)
    assert site.array.call("faults") == 0


@pytest.mark.parametrize("pattern", ["createServer", "assignVolumeToServer", "unassignVolumeToServer"])
@pytest.mark.parametrize("kind", ["cut", "drop"])
def test_an_assignment_of_which_the_answer_is_lost(site: ArraySite, kind: str, pattern: str) -> None:
    site.array.fault(kind, pattern)
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    connection = backend.initialize_connection(volume, INITIATOR)
    (server,) = site.state()["servers"].values()
    assert connection["data"]["auth_password"] == server["target_secret"]
    backend.terminate_connection(volume, INITIATOR)
    assert site.state()["volumes"]["v1"]["servers"] == []


def test_an_array_that_hangs_up_always(site: ArraySite, n1: Node) -> None:
    """Nothing is known then, and no volume is "gone"."""
    n1.create()
    site.array.fault("cut", "getVolumeInfo", times=0)
    for action in ("attach", "remove", "detach"):
        assert "ended the connection" in n1.fails(8, action)
    site.array.order(clear=True)
    assert list(site.state()["volumes"]) == ["v1"]


def test_a_creation_that_is_cut_off_for_good(site: ArraySite, n1: Node) -> None:
    """What it leaves is marked, and made anew by the next."""
    site.array.fault("drop", "modifyVolume", times=0)
    site.array.fault("drop", "deleteVolume", times=0)
    n1.fails(8, "create", VOL_SIZE="16")
    site.array.order(clear=True)
    n1.create("v1", 32)
    assert site.state()["volumes"]["v1"]["size"] == 32 << 20


def test_a_snapshot_that_is_cut_off_for_good(site: ArraySite) -> None:
    """Its array's snapshot can't be removed then, which is not what went wrong."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    site.array.fault("cut", "cloneSnapshot", times=2)
    with pytest.raises(Unreachable, match="ended the connection during cloneSnapshot"):
        backend.create_snapshot(volume, "v1.snap", lambda: None)
    for name in ("v1.snap", "v1"):
        backend.delete_volume(backend.get_volume(name))
    assert site.state() == EMPTY


def test_a_refused_creation_leaves_nothing(site: ArraySite, n1: Node) -> None:
    site.array.fault("reply", "modifyVolume", value={"stdout": error("CliqUnexpected", "no."), "status": 128})
    assert "no." in n1.fails(9, "create", VOL_SIZE="16")
    assert site.state() == EMPTY


def test_a_connection_that_ends_between_two_commands(site: ArraySite) -> None:
    """The array hangs up when it likes."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.cliq.shell._client.get_transport().close()
    assert backend.get_volume("v1").size == volume.size


def test_an_array_that_never_answers(site: ArraySite, n1: Node) -> None:
    n1.create()
    site.configure("[default]\n" + site.pool_text().replace("timeout = 100", "timeout = 10"))
    site.array.fault("hang", "getVolumeInfo", times=0)
    assert "getVolumeInfo" in n1.fails(10, "attach")
    # It is left alone for a moment.
    os.utime(n1.run_dir / "timed-out/lefthand.default")
    assert "left alone" in n1.fails(8, "attach")


def test_a_slow_array(site: ArraySite, n1: Node) -> None:
    site.array.fault("latency", "createVolume", value=1.5)
    n1.create()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("no-status", None), ("noise", "Welcome to <b>SAN</b>/iQ!\nBe nice.\n"), ("flood", 1 << 20)],
)
def test_odd_answers(site: ArraySite, kind: str, value: object) -> None:
    """No exit status, a banner before the XML, a megabyte of complaints: the result counts."""
    site.array.fault(kind, "", times=1 if kind == "flood" else 0, value=value)
    life(site)


@pytest.mark.parametrize(
    "facts", [{"prologue": False}, {"minimal_responses": True}, {"full_stop": False}, {"deletion_looks": 3}]
)
def test_other_versions(site: ArraySite, facts: dict[str, int]) -> None:
    site.array.call("facts", **facts)
    life(site)


@pytest.mark.parametrize("status", [0, 1, 128, None])
def test_the_exit_status_does_not_count(site: ArraySite, status: int | None) -> None:
    """An error is an error with exit status 0, and NothingDone a success with 1."""
    said = error("CliqVolumeNotFound", "Volume 'v1' not found.", "8000100c")
    site.array.fault("reply", "getVolumeInfo", value={"stdout": said, "status": status})
    with pytest.raises(VolumeNotFound):
        site.backend("n1").get_volume("v1")


@pytest.mark.parametrize(
    ("name", "words", "result", "kind"),
    [
        ("CliqVolumeNotFound", "Volume 'v1' not found", "8000100c", VolumeNotFound),
        ("CliqNothingFound", "Nothing found.", "4", VolumeNotFound),
        ("CliqUnexpected", "Volume 'v1' not found.", "80001001", VolumeNotFound),
        ("CliqUnexpected", "Storage node 'n2' not found.", "80001001", None),
        ("CliqUnexpected", "Manager not found for volume 'v1'.", "80001001", None),
        ("CliqMissingParameter", "Parameter 'volumeName' is missing.", "80001006", None),
    ],
)
def test_gone_means_that_the_array_says_so(
    site: ArraySite, name: str, words: str, result: str, kind: type | None
) -> None:
    site.backend("n1").create_volume("v1", 16)
    site.array.fault(
        "reply", "getVolumeInfo", times=0, value={"stdout": error(name, words, result), "status": 0}
    )
    with pytest.raises(kind or CliqRefused):
        site.backend("n1").get_volume("v1")


@pytest.mark.parametrize(
    "said", ["", "no such command\n", "<gauche", '<gauche version="1.0"></gauche>', "<a/>"]
)
def test_what_is_no_answer(site: ArraySite, said: str) -> None:
    site.array.fault("reply", "getVolumeInfo", value={"stdout": said, "status": 0})
    with pytest.raises(NotCliq):
        site.backend("n1").get_volume("v1")


def test_an_operation_that_goes_on(site: ArraySite, n1: Node) -> None:
    """Pending is neither done nor failed."""
    site.array.fault(
        "reply", "modifyVolume", value={"stdout": error("CliqOperationPending", "", "2"), "status": 2}
    )
    assert "has begun" in n1.fails(6, "create", VOL_SIZE="16")


def test_a_foreign_host_key(site: ArraySite, n1: Node) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf"
    (site.config / "known_hosts").write_text(f"[127.0.0.1]:{site.array.port} {other}\n")
    assert "host key" in n1.fails(8, "attach")
    assert site.array.requests() == []


def test_a_wrong_password(site: ArraySite, n1: Node) -> None:
    (site.directory / "password").write_text("wrong\n")
    message = n1.fails(8, "attach")
    assert "does not let 'admin' in" in message
    assert "wrong\n" not in message


def test_a_login_that_is_cut_off(site: ArraySite, n1: Node) -> None:
    """Nobody should go and look for a wrong password then."""
    n1.create()
    site.array.fault("hang-up", "login", times=0)
    message = n1.fails(8, "attach")
    assert "ended the connection while 'admin' was logging in with password_file" in message
    assert "does not let" not in message


def test_unreachable(site: ArraySite) -> None:
    site.configure("[default]\n" + site.pool_text().replace(f"port = {site.array.port}", "port = 1"))
    with pytest.raises(Unreachable):
        site.backend("n1").get_volume("v1")


def error(name: str, words: str, result: str = "80001001") -> str:
    """An answer without anything in it."""
    return (
        f'<gauche version="1.0"><response description="{words}" name="{name}" processingTime="1" '
        f'result="{result}"/></gauche>'
    )
