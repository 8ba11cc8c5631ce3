# SPDX-License-Identifier: Apache-2.0
"""What an earlier driver for such arrays got wrong (the reference's sections 0.1 and 0.3), a test each.

Elsewhere are: words that were not quoted (``test_words.py``); host keys that were not checked, a missing exit
status that was success, both streams read one after the other (``test_faults.py``); exactly one virtual
address, the first of several clusters (``test_exports.py``).
"""

from __future__ import annotations

import pytest

from extstorage_common.backends.lefthand_cliq import CliqRefused, IsClonePoint
from tests.conftest import Node
from tests.lefthand.conftest import ArraySite
from tests.lefthand.test_faults import error

I1 = {"initiator": "iqn.2026-01.test:n1"}
I2 = {"initiator": "iqn.2026-01.test:n2"}


def test_answers_that_declare_their_encoding(site: ArraySite) -> None:
    """0.1: text with an encoding declaration was no XML for the parser (bug 1298608)."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    description = site.description() + " Größe"
    site.cliq(f'modifyVolume volumeName=v1 description="{description}"')
    assert site.backend("n1").get_volume("v1").size == volume.size


def test_failing_is_not_being_gone(site: ArraySite, n1: Node) -> None:
    """0.3: any exit status but 0 of the question before a deletion was taken for "already gone"."""
    n1.create()
    said = error("CliqUnexpected", "The manager is busy.")
    site.array.fault("reply", "getVolumeInfo", times=0, value={"stdout": said, "status": 128})
    assert "The manager is busy." in n1.fails(9, "remove")
    site.array.order(clear=True)
    assert list(site.state()["volumes"]) == ["v1"]


@pytest.mark.parametrize(("result", "name"), [("1", "CliqNothingDone"), ("8", "CliqParameterIgnored")])
def test_informational_results_are_success(site: ArraySite, result: str, name: str) -> None:
    """0.3: every result but 0 was a failure."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.initialize_connection(volume, I1)
    said = {"stdout": error(name, "Nothing to do.", result), "status": int(result)}
    site.array.fault("reply", "unassignVolumeToServer", value=said)
    backend.terminate_connection(volume, I1)
    assert site.array.call("faults") == 0


def test_every_permission_counts(site: ArraySite) -> None:
    """0.3: only the first <permission> was looked at, and read from the <status> beside it."""
    site.backend("n1").create_volume("v1", 16)
    for name, initiator in (("n1", I1), ("n2", I2)):
        backend = site.backend(name)
        data = backend.initialize_connection(backend.get_volume("v1"), initiator)["data"]
        (server,) = (
            one for one in site.state()["servers"].values() if one["initiator"] == initiator["initiator"]
        )
        assert data["auth_password"] == server["target_secret"]


def test_a_server_that_can_not_be_asked_is_not_missing(site: ArraySite) -> None:
    """0.3: any result but 0 of the question for a server led to making one."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    said = {"stdout": error("CliqUnexpected", "The manager is busy."), "status": 128}
    site.array.fault("reply", "assignVolumeToServer", value=said)
    with pytest.raises(CliqRefused, match="The manager is busy"):
        backend.initialize_connection(volume, I1)
    assert site.state()["servers"] == {}


def test_size_zero(site: ArraySite, n1: Node) -> None:
    """0.1, 0.3: a size of 0 became 100 MB."""
    n1.fails(2, "create", VOL_SIZE="0")
    assert site.array.requests() == []


def test_nobody_inherits_access(site: ArraySite) -> None:
    """0.3: with inheritAccess=1 whoever had a volume had its snapshots, too."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.initialize_connection(volume, I1)
    backend.create_snapshot(volume, "v1.snap", lambda: None)
    assert site.state()["volumes"]["v1.snap"]["servers"] == []
    (line,) = [one for one in site.array.requests() if one.startswith("createSnapshot")]
    assert "inheritAccess=0" in line


def test_nothing_is_asked_that_nobody_answers(site: ArraySite) -> None:
    """1.1: whatever deletes says prompt=false, or it would hang."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.set_metadata(volume, "x")
    snapshot = backend.create_snapshot(volume, "v1.snap", lambda: None)
    backend.delete_volume(snapshot)
    backend.delete_volume(volume)
    deleting = [line for line in site.array.requests() if line.startswith("delete")]
    assert len(deleting) == 4
    assert all("prompt=false" in line for line in deleting)


def test_a_clone_point_is_told_by_its_words(site: ArraySite) -> None:
    """0.3: that has no result of its own."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.create_snapshot(volume, "v1.snap", lambda: None)
    (point,) = site.state()["snapshots"]
    with pytest.raises(IsClonePoint):
        backend.cliq.remove("deleteSnapshot", snapshotName=point)


def test_sizes_are_mebibytes_as_ganeti_says_them(site: ArraySite, n1: Node) -> None:
    """0.3: sizes were whole gigabytes; nothing is rounded, and a shrinking size never said."""
    n1.create("v1", 1001)
    assert n1.grow(1001, 1003).status == 0
    assert site.state()["volumes"]["v1"]["size"] == 1003 << 20
    site.cliq("modifyVolume volumeName=v1 size=2048MB")
    assert n1.grow(1003, 1500).status == 0
    assert site.state()["volumes"]["v1"]["size"] == 2048 << 20
