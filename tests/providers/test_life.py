# SPDX-License-Identifier: Apache-2.0
"""A volume's life, seen from the door."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, MIB, Node, Site, get, put, size_of


def test_data_survives_detach_and_reaches_the_other_node(site: Site, n1: Node, n2: Node) -> None:
    n1.create()
    device = n1.attach()
    assert device == str(n1.run_dir / "dev/v1")
    assert size_of(device) == 16 * MIB
    assert get(device, 16 * MIB) == bytes(16 * MIB)
    content = os.urandom(MIB)
    put(device, content, 3 * MIB)
    n1.ok("detach")
    assert not os.path.lexists(device)
    assert site.loop_devices() == []
    assert get(n1.attach(), MIB, 3 * MIB) == content
    assert get(n2.attach(), MIB, 3 * MIB) == content
    n1.ok("detach")
    n2.ok("detach")
    n1.ok("remove")
    assert site.volumes() == []
    assert n1.left() == n2.left() == []


def test_direct_io_is_used(n1: Node) -> None:
    n1.create()
    loop = os.path.basename(os.readlink(n1.attach()))
    assert Path(f"/sys/block/{loop}/loop/dio").read_text() == "1\n"


def test_grow_shows_on_the_device_and_is_zero(n1: Node) -> None:
    n1.create()
    device = n1.attach()
    put(device, b"x" * 16 * MIB)
    assert n1.grow(16, 24).status == 0
    assert size_of(device) == 24 * MIB
    assert get(device, 8 * MIB, 16 * MIB) == bytes(8 * MIB)
    assert n1.grow(16, 24).status == 0
    assert size_of(device) == 24 * MIB
    assert n1.grow(24, 16).status == 2
    assert size_of(device) == 24 * MIB


@pytest.mark.parametrize("how", ["replaced", "deleted and made anew"])
def test_growth_that_can_not_show_is_no_success(site: Site, n1: Node, how: str) -> None:
    n1.create()
    device = n1.attach()
    disk = site.pool / "v1/disk"
    if how == "replaced":
        copy = site.pool / "v1/copy"
        copy.write_bytes(disk.read_bytes())
        copy.rename(disk)
    else:
        disk.unlink()
        disk.write_bytes(bytes(16 * MIB))
    assert "is not this volume" in n1.grow(16, 24).stderr
    assert n1.grow(16, 24).status == 12
    assert size_of(device) == 16 * MIB
    # The way out: connect anew, and again.
    n1.ok("detach")
    device = n1.attach()
    assert n1.grow(16, 24).status == 0
    assert size_of(device) == 24 * MIB


def test_open_on_another_node_sees_the_growth(n1: Node, n2: Node) -> None:
    n1.create()
    n1.attach()
    device = n2.attach()
    assert n1.grow(16, 24).status == 0
    n1.ok("detach")
    assert size_of(device) == 16 * MIB
    assert n2.open().status == 0
    assert size_of(device) == 24 * MIB


def test_full_allocation_reserves_space(site: Site, n1: Node) -> None:
    n1.create("sparse")
    n1.create("full", EXTP_ALLOCATION="full")
    used = {name: (site.pool / name / "disk").stat().st_blocks * 512 for name in ("sparse", "full")}
    assert used["sparse"] < MIB
    assert used["full"] >= 16 * MIB
    # What the volume was made with counts, not what the parameters say today.
    assert n1.grow(16, 24, "full").status == 0
    assert (site.pool / "full/disk").stat().st_blocks * 512 >= 24 * MIB


@pytest.mark.parametrize("allocation", ["sparse", "full"])
def test_no_space(site: Site, n1: Node, allocation: str) -> None:
    sentence = n1.fails(11, "create", VOL_SIZE=str(1 << 30), EXTP_ALLOCATION=allocation)
    assert "are free" in sentence
    assert site.volumes() == []


def test_overcommit_allows_more_than_is_free(site: Site, n1: Node) -> None:
    site.configure(f"[default]\ndirectory = {site.pool}\novercommit = yes\n")
    # Of what is free now more may be in a moment; never more than there is.
    whole = os.statvfs(site.pool).f_blocks * os.statvfs(site.pool).f_frsize
    n1.create(size=whole // MIB + 1)
    n1.fails(11, "create", "v2", VOL_SIZE=str(whole // MIB + 1), EXTP_ALLOCATION="full")


def test_setinfo_is_kept_with_the_volume(site: Site, n1: Node) -> None:
    n1.create()
    for text in ("originstname+a", "originstname+b"):
        n1.ok("setinfo", VOL_METADATA=text)
        assert (site.pool / "v1/metadata").read_text() == text


def test_userspace_uri(site: Site, n1: Node) -> None:
    n1.create()
    cold = n1.ok("attach", EXTP_ACCESS="userspace").splitlines()
    warm = n1.ok("attach", EXTP_ACCESS="userspace").splitlines()
    assert cold == warm == [str(n1.run_dir / "dev/v1"), f"kvm:file:{site.pool}/v1/disk"]
    assert n1.ok("attach").splitlines() == cold[:1]


def test_userspace_uri_doubles_commas(site: Site, n1: Node) -> None:
    site.configure(f"[default]\ndirectory = {site.directory}/a,b\n")
    site.init("default")
    n1.create()
    assert n1.ok("attach", EXTP_ACCESS="userspace").splitlines()[1].endswith("/a,,b/v1/disk")


def test_detach_with_userspace_access_sees_a_process_on_the_file(site: Site, n1: Node) -> None:
    n1.create()
    n1.attach()
    with (site.pool / "v1/disk").open("rb"):
        sentence = n1.fails(6, "detach", EXTP_ACCESS="userspace")
        assert f"(process {os.getpid()})" in sentence
    n1.ok("detach", EXTP_ACCESS="userspace")


def test_busy_device_is_kept(n1: Node) -> None:
    n1.create()
    device = n1.attach()
    loop = os.path.basename(os.readlink(device))
    put(device, b"data")
    with open(device, "rb"):
        sentence = n1.fails(6, "detach")
        assert f"(process {os.getpid()})" in sentence
        assert n1.attach() == device
    # The kernel must not take the device away when the last user closes it.
    assert Path(f"/sys/block/{loop}/loop/autoclear").read_text() == "0\n"
    assert get(device, 4) == b"data"
    n1.ok("detach")


def test_remove_of_a_busy_volume_is_refused(site: Site, n1: Node) -> None:
    n1.create()
    with open(n1.attach(), "rb"):
        n1.fails(6, "remove")
    assert site.volumes() == ["v1"]
    n1.ok("remove")
    assert site.volumes() == site.loop_devices() == []


# --- snapshots --------------------------------------------------------------------------------------


def test_snapshot_is_a_copy_while_nobody_has_the_device_open(site: Site, n1: Node) -> None:
    n1.create()
    device = n1.attach()
    put(device, b"old")
    assert n1.snapshot().status == 0
    put(device, b"new")
    assert get(n1.attach("v1.snap"), 3) == b"old"
    assert (site.pool / "v1.snap/disk").stat().st_blocks * 512 < MIB
    assert n1.snapshot().status == 6  # attached
    n1.ok("detach", "v1.snap")
    assert n1.snapshot().status == 0
    assert get(n1.attach("v1.snap"), 3) == b"new"
    n1.ok("detach", "v1.snap")
    n1.ok("remove", "v1.snap")
    assert site.volumes() == ["v1"]
    # The copy reserved the volume, and gave it back.
    assert n1.open().status == 0


def test_copy_of_an_open_volume_is_refused(site: Site, n1: Node) -> None:
    n1.create()
    with open(n1.attach(), "rb"):
        result = n1.snapshot()
    assert result.status == 6
    assert "can't clone files" in result.stderr
    assert site.volumes() == ["v1"]


def test_copy_of_a_volume_that_is_open_elsewhere_is_refused(site: Site, n1: Node, n2: Node) -> None:
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n2.snapshot().status == 7
    assert site.volumes() == ["v1"]


def test_snapshot_never_replaces_a_volume(n1: Node) -> None:
    n1.create()
    n1.create("v1.snap")
    result = n1.snapshot()
    assert result.status == 5
    assert "no snapshot" in result.stderr


@pytest.fixture
def reflinks(site: Site) -> Path:
    """A filesystem with reflinks, as the pool's directory."""
    image, mount = site.directory / "xfs", site.directory / "mnt"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    site.configure(f"[default]\ndirectory = {mount}/pool\n")
    site.init("default")
    return mount


def _kernel_has(filesystem: str) -> bool:
    """The kernel lists what is built in or loaded; mount would load a module by itself."""
    listed = filesystem in Path("/proc/filesystems").read_text()
    return listed or bool(list(Path("/lib/modules", os.uname().release).rglob(f"{filesystem}.ko*")))


@pytest.mark.skipif(not _kernel_has("xfs"), reason="this kernel has no XFS, so no reflinks")
def test_open_volume_is_cloned_where_there_are_reflinks(reflinks: Path, n1: Node) -> None:
    try:
        n1.create()
        device = n1.attach()
        put(device, b"old" * MIB)
        with open(device, "r+b"):
            assert n1.open().status == 0
            result = n1.snapshot()
        assert result == (0, "", "")
        put(device, b"new")
        assert get(n1.attach("v1.snap"), 3) == b"old"
        n1.ok("detach", "v1.snap")
        n1.ok("detach")
    finally:
        for volume in ("v1", "v1.snap"):
            n1.call("detach", volume)
        subprocess.run(["umount", str(reflinks)], check=True)


# --- filesystems without direct I/O -----------------------------------------------------------------


def test_without_direct_io_nothing_is_shared(site: Site, n1: Node, n2: Node) -> None:
    mount = site.directory / "ram"
    mount.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", str(mount)], check=True)
    try:
        site.configure(f"[default]\ndirectory = {mount}/pool\n")
        site.init("default")
        n1.create()
        n1.attach()
        n2.attach()
        shared = n1.open(exclusive=False)
        assert shared.status == 9
        assert "direct I/O" in shared.stderr
        assert n1.open().status == 0
        put(n1.attach(), b"data")
        n1.ok("close")
        assert n2.open().status == 0
        assert get(n2.attach(), 4) == b"data"
    finally:
        n1.call("detach")
        n2.call("detach")
        subprocess.run(["umount", str(mount)], check=True)


# --- the default directory --------------------------------------------------------------------------


def test_without_any_configuration(site: Site, n1: Node) -> None:
    (site.config / "file.conf").unlink()
    # A place of the test's own over the default directory, in a mount namespace of its own.
    script = """
        mkdir -p /var/lib/ganeti-extstorage
        mount -t tmpfs tmpfs /var/lib/ganeti-extstorage
        ./create && ./attach >/dev/null && ./detach && ls -A /var/lib/ganeti-extstorage/file && ./remove
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script],
        cwd=CHECKOUT / "providers/file",
        env={**n1.environment, "VOL_NAME": "v1", "VOL_SIZE": "16"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == [".ganeti-extstorage-pool", "v1"]


def test_linked_under_another_name(site: Site) -> None:
    node = site.node("n1")
    link = site.directory / "nfs1"
    link.symlink_to(CHECKOUT / "providers/file")
    (site.config / "nfs1.conf").write_text(f"[gold]\ndirectory = {site.directory}/gold\n")
    node.provider = link
    assert "pool 'gold'" in node.fails(8, "create", VOL_SIZE="16")
    site.config.joinpath("file.conf").unlink()
    subprocess.run(
        ["/usr/bin/python3", "-m", "gnt_storage", "pool", "init", str(link)],
        cwd=CHECKOUT,
        env={**os.environ, "EXTSTORAGE_CONFIG_DIR": str(site.config)},
        check=True,
        capture_output=True,
    )
    node.create()
    device = node.attach()
    # The same volume's name under another provider's name is not answered for.
    node.provider = CHECKOUT / "providers/file"
    assert "attached by provider nfs1" in node.fails(6, "attach")
    node.provider = link
    assert node.attach() == device
    node.ok("detach")
