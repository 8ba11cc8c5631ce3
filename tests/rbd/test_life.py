# SPDX-License-Identifier: Apache-2.0
"""A volume's life, and what is at the storage after each step."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.conftest import CHECKOUT
from tests.rbd.conftest import MIB, RbdNode, RbdSite


def test_whole_life(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    told = json.loads(site.rbd("info", "--format", "json", ":v1"))
    assert told["size"] == 16 * MIB
    assert {"layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"} == set(told["features"])
    n1.put(7)
    assert n1.open().status == 0
    n1.ok("setinfo", VOL_METADATA="originstname+instance1")
    assert n1.grow(16, 24).status == 0
    assert json.loads(site.rbd("info", "--format", "json", ":v1"))["size"] == 24 * MIB
    assert n1.shows(7)
    assert n1.shows(0, 20 * MIB)
    n1.ok("close")
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()
    assert n1.left() == []


def test_new_volume_is_announced_in_its_metadata_once(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    before = site.rbd("image-meta", "list", ":v1")
    assert "ganeti-extstorage volume 1" in before
    assert "name v1" in before
    n1.uri()
    n1.open()
    n1.ok("setinfo", VOL_METADATA="text")
    assert site.rbd("image-meta", "list", ":v1") == before


def test_info_tells_what_is_there(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.uri()
    n1.ok("setinfo", VOL_METADATA="originstname+instance1")
    told = describe(site, "v1")
    assert told["metadata"] == "originstname+instance1"
    assert told["attached"] == "n1"
    assert told["image"] == site.spec("v1")
    assert "used" not in told
    n1.put(1)
    assert describe(site, "v1")["used"] == str(4 * MIB)


def describe(site: RbdSite, volume: str) -> dict[str, str]:
    """What the backend says of a volume."""
    program = f"""
import json
from gnt_storage import suite_provider
rbd = suite_provider.load({str(CHECKOUT / "providers/rbd")!r})
backend = rbd.open_pool(rbd.pool("gold"))
print(json.dumps(backend.describe(backend.get_volume({volume!r}))))
"""
    environment = {**os.environ, "EXTSTORAGE_CONFIG_DIR": str(site.config)}
    command = ["/usr/bin/python3", "-c", program]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True)
    told: dict[str, str] = json.loads(done.stdout)
    return told


def test_create_over_existing_is_refused(site: RbdSite, n1: RbdNode, n2: RbdNode) -> None:
    n1.create()
    n1.put(9)
    assert "exists already with 16 MiB" in n2.fails(5, "create", VOL_SIZE="16")
    assert n1.shows(9)


def test_a_stranger_s_image_is_no_volume(site: RbdSite, n1: RbdNode) -> None:
    site.rbd("create", "--size", "16M", ":v1")
    assert "did not make it" in n1.fails(4, "attach")
    assert "in the way" in n1.fails(5, "create", VOL_SIZE="16")
    n1.ok("remove")
    n1.ok("detach")
    assert site.volumes() == ["v1"]
    assert site.half_made() == []


@pytest.mark.parametrize("name", ["x" * 128, "9" + "." * 127, "A_b-c.d" * 18])
def test_names_at_the_limits(site: RbdSite, n1: RbdNode, name: str) -> None:
    n1.create(name)
    n1.put(3, volume=name)
    assert n1.shows(3, volume=name)
    n1.ok("detach", name)
    n1.ok("remove", name)
    assert site.is_empty()


def test_large_volume_is_gone_at_once(site: RbdSite, n1: RbdNode) -> None:
    site.set(overcommit="yes")
    n1.create(size=1 << 22)
    n1.ok("remove")
    assert "no such volume" in n1.fails(4, "attach")
    n1.create(size=16)
    assert site.volumes() == ["v1"]


def test_userspace_only_volume_is_not_opened_without(n1: RbdNode) -> None:
    n1.create()
    kernel = {"EXTP_ACCESS": "kernelspace", "VOL_OPEN_EXCLUSIVE": "True"}
    # Ganeti takes an attach that fails for a disk that is gone, so it is open that refuses.
    assert n1.ok("attach", EXTP_ACCESS="kernelspace").startswith("\nkvm:rbd:")
    assert "access=userspace" in n1.fails(9, "open", **kernel)


def test_qemu_understands_the_uri(n1: RbdNode) -> None:
    n1.create()
    line = ["qemu-img", "info", "--force-share", "-f", "raw", "--output=json", n1.uri()]
    told = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    assert told["virtual-size"] == 16 * MIB


def test_paths_in_the_uri_are_escaped(site: RbdSite, n1: RbdNode) -> None:
    odd = site.directory / "a:b@c=d\\f"
    odd.mkdir()
    for name in ("conf", "keyring"):
        (odd / name).symlink_to(site.options[name])
    site.set(conf=str(odd / "conf"), keyring=str(odd / "keyring"))
    n1.create()
    assert "a\\:b\\@c=d\\\\f" in n1.uri()
    n1.put(2)
    assert n1.shows(2)


def test_pool_without_a_namespace(site: RbdSite, n1: RbdNode) -> None:
    site.set(namespace="")
    n1.create("plain")
    n1.put(4, volume="plain")
    assert "plain" in site.ceph.rbd("ls", "rbd").split()
    n1.ok("detach", "plain")
    n1.ok("remove", "plain")
    assert "plain" not in site.ceph.rbd("ls", "rbd").split()


def test_data_pool(site: RbdSite, n1: RbdNode) -> None:
    site.ceph.create_pool("data")
    caps = "profile rbd pool=rbd, profile rbd pool=data"
    keyring = site.ceph.add_user("client.two", mon="profile rbd", osd=caps)
    site.set(data_pool="data", cephx_id="two", keyring=str(keyring))
    n1.create()
    n1.put(5)
    assert json.loads(site.rbd("info", "--format", "json", ":v1"))["data_pool"] == "data"
    assert n1.snapshot().status == 0
    assert n1.shows(5, volume="v1.snap")


def test_two_pools_are_searched(site: RbdSite, n1: RbdNode) -> None:
    base = "".join(f"{key} = {text}\n" for key, text in site.options.items() if key != "namespace")
    site.ceph.rbd("namespace", "create", f"rbd/{site.namespace}b")
    site.configure(
        f"[DEFAULT]\n{base}[gold]\nnamespace = {site.namespace}\n[silver]\nnamespace = {site.namespace}b\n"
    )
    n1.create(EXTP_POOL="silver")
    assert site.volumes() == []
    assert f"/{site.namespace}b/v1" in n1.uri()
    n1.ok("detach", EXTP_POOL="gold")
    n1.ok("remove", EXTP_POOL="gold")
    assert site.ceph.rbd("ls", f"rbd/{site.namespace}b") == ""


def test_pool_init_makes_the_namespace(site: RbdSite) -> None:
    name = site.namespace + "new"
    site.set(namespace=name)
    assert site.init("gold").startswith("pool 'gold' of provider 'rbd' is ready")
    assert name in site.ceph.rbd("namespace", "ls", "rbd")
    assert site.init("gold") == site.init("gold")


def test_restored_from_the_trash(site: RbdSite, n1: RbdNode) -> None:
    site.set(trash_days="7")
    n1.create()
    n1.put(6)
    n1.ok("detach")
    n1.ok("remove")
    assert "no such volume" in n1.fails(4, "attach")
    assert site.trash() == ["v1"]
    image = site.rbd("trash", "ls", f"rbd/{site.namespace}").split()[0]
    site.rbd("trash", "restore", f"rbd/{site.namespace}/{image}")
    assert n1.shows(6)
