# SPDX-License-Identifier: Apache-2.0
"""What a disk may say of itself, and what verify says of a node."""

from __future__ import annotations

import json

import pytest

from tests.ceph.cluster import POOL
from tests.rbd.conftest import RbdNode, RbdSite


def features(site: RbdSite, volume: str = "v1") -> set[str]:
    """The features of an image."""
    return set(json.loads(site.rbd("info", "--format", "json", f":{volume}"))["features"])


def test_all_is_well(site: RbdSite, n1: RbdNode) -> None:
    assert n1.call("verify") == (0, "", "")
    assert site.ioctx().list_objects() is not None
    assert [one.key for one in site.ioctx().list_objects() if "probe" in one.key] == []


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_keyring_that_others_may_read(site: RbdSite, n1: RbdNode, mode: int) -> None:
    keyring = site.directory / "keyring"
    keyring.write_bytes(open(site.options["keyring"], "rb").read())
    keyring.chmod(mode)
    site.set(keyring=str(keyring))
    assert "chmod 600" in n1.fails(3, "verify")
    keyring.chmod(0o600)
    assert n1.call("verify").status == 0


def test_user_of_another_pool(site: RbdSite, n1: RbdNode) -> None:
    site.ceph.create_pool("other")
    keyring = site.ceph.add_user("client.away", mon="profile rbd", osd="profile rbd pool=other")
    site.set(cephx_id="away", keyring=str(keyring))
    said = n1.fails(9, "verify")
    assert "client.away" in said
    assert "ceph auth get client.away" in said


def test_pool_or_data_pool_that_is_not_there(site: RbdSite, n1: RbdNode) -> None:
    site.set(data_pool="nowhere")
    assert "nowhere" in n1.fails(8, "verify")
    site.set(rbd_pool="nowhere")
    assert "nowhere" in n1.fails(8, "verify")


def test_kernel_without_its_client(site: RbdSite, n1: RbdNode) -> None:
    """As on this machine, where the kernel maps nothing."""
    site.set(userspace_only="no")
    assert "connector" in n1.call("verify").stderr


def test_no_configuration(site: RbdSite, n1: RbdNode) -> None:
    (site.config / "rbd.conf").unlink()
    for action in ("attach", "remove", "detach"):
        assert "rbd.conf" in n1.fails(3, action)
    assert "rbd.conf" in n1.fails(3, "create", VOL_SIZE="16")
    assert "rbd.conf" in n1.fails(3, "verify")


# --- the parameters of other providers --------------------------------------------------------------


def test_old_parameters_are_taken(site: RbdSite, n1: RbdNode) -> None:
    n1.create(
        EXTP_RBD_POOL=POOL,
        EXTP_CEPHX_ID="ganeti",
        EXTP_REUSE_DATA="False",
        EXTP_IMAGE_FEATURES="layering,exclusive-lock",
        EXTP_STRIPE_UNIT="65536",
        EXTP_STRIPE_COUNT="4",
        EXTP_USERSPACE_ONLY="True",
    )
    told = json.loads(site.rbd("info", "--format", "json", ":v1"))
    assert features(site) == {"layering", "exclusive-lock", "striping"}
    assert (told["stripe_unit"], told["stripe_count"]) == (65536, 4)
    n1.put(1)
    assert n1.shows(1)


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("RBD_POOL", "other", "rbd_pool"),
        ("CEPHX_ID", "admin", "cephx_id"),
        ("REUSE_DATA", "True", "handed out"),
        ("KEYRING", "/etc/ceph/ceph.client.admin.keyring", "keyring"),
        ("IMAGE_FEATURES", "exclusive-lock", "layering"),
        ("IMAGE_FEATURES", "layering,object-map", "image_features"),
        ("STRIPE_UNIT", "65536", "stripe_count"),
        ("ORIGIN", "other/pool", "image"),
        ("FEATURES", "layering", "image_features"),
    ],
)
def test_what_is_unsafe_is_refused(site: RbdSite, n1: RbdNode, parameter: str, value: str, said: str) -> None:
    assert said in n1.fails(2, "create", VOL_SIZE="16", **{f"EXTP_{parameter}": value})
    assert site.volumes() == []


def test_refused_parameters_do_not_lose_a_disk(site: RbdSite, n1: RbdNode) -> None:
    """Ganeti takes an attach that fails for a disk that is gone."""
    n1.create()
    n1.ok("attach", EXTP_RBD_POOL="other", EXTP_REUSE_DATA="True")
    n1.ok("detach", EXTP_RBD_POOL="other")
    n1.ok("remove", EXTP_RBD_POOL="other")
    assert site.volumes() == []


def test_owner_options(site: RbdSite, n1: RbdNode) -> None:
    site.set(owner_options="stripe_unit stripe_count")
    assert "image_features" in n1.fails(2, "create", VOL_SIZE="16", EXTP_IMAGE_FEATURES="layering")
    n1.create(EXTP_RBD_POOL=POOL, EXTP_STRIPE_UNIT="4096", EXTP_STRIPE_COUNT="2")


def test_without_object_map(site: RbdSite, n1: RbdNode) -> None:
    site.set(image_features="layering")
    n1.create()
    assert features(site) == {"layering"}
    n1.put(1)
    assert n1.snapshot().status == 0
    assert n1.shows(1, volume="v1.snap")
    n1.ok("detach", "v1.snap")
    n1.ok("remove", "v1.snap")
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()


def test_journaling(site: RbdSite, n1: RbdNode) -> None:
    """Where all that changes goes through a journal, for a mirror."""
    site.set(image_features="layering,exclusive-lock,journaling")
    n1.create()
    assert "journaling" in features(site)
    assert "name v1" in site.rbd("image-meta", "list", ":v1")
    n1.put(1)
    assert n1.shows(1)
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()
