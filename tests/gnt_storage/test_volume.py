# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage volume`` and ``pool list``, run as processes beside the scripts of two nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PROVIDER, Node, Result, Site, size_of
from tests.gnt_storage.test_commands import gnt_storage

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def ganeti(site: Site) -> Path:
    """Ganeti's files, for an instance with v1 as its disk."""
    directory = site.directory / "ganeti"
    directory.mkdir()
    (directory / "ssconf_cluster_name").write_text("cluster.example.com\n")
    (directory / "ssconf_node_list").write_text("n1\nn2\n")
    document = {
        "nodes": {"u1": {"name": "n1"}},
        "instances": {"i1": {"name": "web", "disks": ["d1"], "primary_node": "u1"}},
        "disks": {"d1": {"dev_type": "ext", "logical_id": ["file", "v1"]}, "d2": {"dev_type": "plain"}},
    }
    (directory / "config.data").write_text(json.dumps(document))
    return directory


def as_node(node: Node, *arguments: str, **variables: str) -> Result:
    """``gnt-storage`` on a node that has Ganeti's files if there are any."""
    own = {
        "EXTSTORAGE_NODE": node.name, "EXTSTORAGE_RUN_DIR": str(node.run_dir),
        "EXTSTORAGE_SEARCH_PATH": "/nowhere", "EXTSTORAGE_SSCONF_DIR": str(node.site.directory / "ganeti"),
    }  # fmt: skip
    return gnt_storage(node.site, *arguments, **own | variables)


def volumes(node: Node, status: int = 0) -> dict[str, dict[str, Any]]:
    result = as_node(node, "volume", "list", "--json")
    assert result.status == status, result.stderr
    return {one["name"]: one for one in json.loads(result.stdout)["volumes"]}


def test_life_of_a_volume(site: Site, n1: Node) -> None:
    assert as_node(n1, "volume", "create", "v1", "--size", "16", "--provider", "file") == Result(0, "", "")
    attached = as_node(n1, "volume", "attach", "v1")
    assert (attached.status, attached.stderr) == (0, "")
    # It is the very attachment of the scripts.
    device = n1.attach()
    assert attached.stdout == f"{device}\n"
    assert as_node(n1, "volume", "grow", "v1", "--size", "24m").status == 0
    assert size_of(device) == 24 * MIB
    assert as_node(n1, "volume", "grow", "v1", "--size", "8m").status == 2
    assert as_node(n1, "volume", "snapshot", "v1", "v2").status == 0
    assert set(volumes(n1)) == {"v1", "v2"}
    refused = as_node(n1, "volume", "create", "v1", "--size", "16", "--provider", "file")
    assert refused.status == 5
    assert refused.stderr.count("\n") == 1
    assert as_node(n1, "volume", "detach", "v1").status == 0
    assert n1.left() == []
    asked = as_node(n1, "volume", "remove", "v1")
    assert (asked.status, site.volumes()) == (6, ["v1", "v2"])
    done = as_node(n1, "volume", "remove", "v1", "--yes", "--json")
    told = {"version": 1, "action": "remove", "provider": "file", "volume": "v1", "lines": []}
    assert json.loads(done.stdout) == told
    assert site.volumes() == ["v2"]


def test_what_is_told(site: Site, n1: Node, n2: Node, ganeti: Path) -> None:
    n1.create()
    n1.create("v2", 32)
    n1.attach()
    n1.open()
    n2.attach()
    told = volumes(n1)["v1"]
    assert (told["provider"], told["pool"], told["state"], told["size"]) == (
        "file",
        "default",
        "complete",
        16 * MIB,
    )
    assert (told["attached"], told["opened"]) == (["n1", "n2"], [["n1", "exclusive"]])
    assert (told["instance"], told["disk"]) == ("web", 0)
    assert (volumes(n1)["v2"]["instance"], volumes(n1)["v2"]["disk"]) == ("", -1)
    shown = as_node(n2, "volume", "show", "v1")
    assert "opened:      n1 (exclusive)\n" in shown.stdout
    document = json.loads(as_node(n2, "volume", "show", "v1", "--json").stdout)
    assert document == {"version": 1, "volume": told}
    (n1.site.directory / "ganeti/config.data").unlink()
    assert volumes(n1)["v1"]["instance"] == ""


def test_half_made_volume_is_shown_and_removed(site: Site, n1: Node) -> None:
    n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="file.making")
    assert volumes(n1)["v1"]["state"] == "half-made"
    assert json.loads(as_node(n1, "volume", "show", "v1", "--json").stdout)["volume"]["state"] == "half-made"
    assert as_node(n1, "volume", "remove", "v1", "--yes").status == 0
    assert volumes(n1) == {}


def test_not_found_and_unreachable_are_told_apart(site: Site, n1: Node) -> None:
    n1.create()
    missing = as_node(n1, "volume", "show", "v9")
    assert (missing.status, missing.stdout) == (4, "")
    assert missing.stderr == "gnt-storage: there is no volume v9 in any pool of file\n"
    site.pool.rename(site.directory / "away")
    for arguments in (["show", "v9"], ["detach", "v9"], ["remove", "v9", "--yes"], ["list"]):
        away = as_node(n1, "volume", *arguments)
        assert away.status == 8, arguments
        assert "marker file" in away.stderr


def test_what_is_configured_for_nobody_has_no_volumes(site: Site, n1: Node) -> None:
    """The package brings every provider. What is configured wrongly may have any."""
    search = site.directory / "search"
    search.mkdir()
    for provider in ("file", "lvm"):
        (search / provider).symlink_to(PROVIDER.parent / provider)
    missing = as_node(n1, "volume", "show", "v9", EXTSTORAGE_SEARCH_PATH=str(search))
    assert (missing.status, missing.stderr) == (
        4, "gnt-storage: there is no volume v9 in any pool of file\n"
    )  # fmt: skip
    (site.config / "lvm.conf").write_text("volume_group = vg0\n")
    unknown = as_node(n1, "volume", "show", "v9", EXTSTORAGE_SEARCH_PATH=str(search))
    assert (unknown.status, "lvm.conf: line 1 comes before" in unknown.stderr) == (3, True)


def test_pool_init_without_a_configuration(site: Site, n1: Node) -> None:
    missing = as_node(n1, "pool", "init", "lvm", "gold")
    assert (missing.status, missing.stdout) == (3, "")
    assert missing.stderr.startswith(f"gnt-storage: {site.config}/lvm.conf: it is not there; write it, ")


def test_nothing_is_done_that_nobody_confirms(site: Site, n1: Node) -> None:
    n1.create()
    asked = as_node(n1, "volume", "remove", "v1")
    assert (asked.status, asked.stdout.strip()) == (6, "")
    question, sentence = asked.stderr.splitlines()
    assert question.startswith("Delete volume v1 of provider file and all its data for good?")
    assert sentence == "gnt-storage: nothing was done, since nobody said yes; --yes does without asking"
    assert site.volumes() == ["v1"]


def test_what_is_attached_can_be_detached_while_the_storage_is_away(site: Site, n1: Node) -> None:
    n1.create()
    n1.attach()
    site.pool.rename(site.directory / "away")
    away = as_node(n1, "volume", "detach", "v1")
    assert away.status == 8
    assert "disconnected from this node" in away.stderr
    assert site.loop_devices() == []
    (site.directory / "away").rename(site.pool)
    assert as_node(n1, "volume", "detach", "v1").status == 0
    assert n1.left() == []


def test_in_two_providers(site: Site, n1: Node) -> None:
    (site.config / "nfs1.conf").write_text(f"[other]\nbackend = file\ndirectory = {site.directory}/other\n")
    assert as_node(n1, "pool", "init", "nfs1").status == 0
    n1.create()
    assert as_node(n1, "volume", "create", "v1", "--size", "16", "--provider", "nfs1").status == 0
    several = as_node(n1, "volume", "remove", "v1", "--yes")
    assert (several.status, several.stderr) == (
        5, "gnt-storage: volume v1 is in pools of several providers (file, nfs1); say which with --provider\n"
    )  # fmt: skip
    assert as_node(n1, "volume", "remove", "v1", "--yes", "--provider", "nfs1").status == 0
    assert site.volumes() == ["v1"]


def test_disk_of_an_instance_is_ganetis_affair(site: Site, n1: Node, ganeti: Path) -> None:
    n1.create()
    refused = as_node(n1, "volume", "remove", "v1", "--yes")
    assert refused.status == 9
    assert (
        "disk 0 of instance web; let Ganeti do it: gnt-instance modify --disk 0:remove web" in refused.stderr
    )
    assert as_node(n1, "volume", "grow", "v1", "--size", "32").status == 9
    assert size_of_volume(n1) == 16 * MIB
    assert as_node(n1, "volume", "grow", "v1", "--size", "32", "--despite-ganeti").status == 0
    assert size_of_volume(n1) == 32 * MIB
    assert as_node(n1, "volume", "remove", "v1", "--yes", "--despite-ganeti").status == 0
    assert site.volumes() == []


def size_of_volume(node: Node) -> int:
    return int(volumes(node)["v1"]["size"])


def test_release_of_what_a_dead_node_held(site: Site, n1: Node, n2: Node, ganeti: Path) -> None:
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n2.attach()
    assert n2.open().status == 7
    alive = as_node(n2, "volume", "release", "v1", "--node", "n1", "--yes")
    assert alive.status == 7
    assert "gnt-node modify -O yes n1" in alive.stderr
    assert as_node(n2, "volume", "release", "v1", "--node", "n1").status == 6  # nobody answers the question
    assert n2.open().status == 7
    (ganeti / "ssconf_offline_nodes").write_text("n1\n")
    freed = as_node(n2, "volume", "release", "v1", "--node", "n1", "--yes")
    assert freed == Result(0, "n1 had it open (exclusive) and attached\n", "")
    told = volumes(n2)["v1"]
    assert (told["attached"], told["opened"]) == (["n2"], [])
    assert n2.open().status == 0
    again = as_node(n2, "volume", "release", "v1", "--node", "n1", "--yes", "--json")
    assert json.loads(again.stdout)["freed"] == []


def test_pools(site: Site, n1: Node) -> None:
    n1.create()
    site.configure(f"[gold]\ndirectory = {site.pool}\n[silver]\ndirectory = {site.directory}/silver\n")
    result = as_node(n1, "pool", "list", "--json")
    assert result.status == 8
    gold, silver = json.loads(result.stdout)["pools"]
    assert (gold["provider"], gold["pool"], gold["volumes"], gold["status"]) == ("file", "gold", 1, 0)
    assert gold["size"] >= gold["free"] > 0
    assert (silver["status"], "marker file" in silver["problem"]) == (8, True)
    shown = as_node(n1, "pool", "list")
    assert shown.stdout.splitlines()[1].endswith("ok")
    assert shown.stderr == "gnt-storage: 1 of the pools can't be used as they are\n"
    assert as_node(n1, "pool", "init", "file", "silver").status == 0
    assert as_node(n1, "pool", "list").status == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["volume", "show", "v1", "--bogus"], "; see gnt-storage volume show --help"),
        (["volume", "show"], "Missing argument 'NAME'; see gnt-storage volume"),
        (["bogus"], "No such command 'bogus'; see gnt-storage --help"),
        (["volume", "create", "v1", "--size", "1x", "--provider", "file"], "'1x' is no size"),
        (["volume", "create", "v1", "--size", "1", "--provider", "file", "--param", "x"], "is not K=V"),
    ],
)
def test_usage_errors_are_one_line(site: Site, arguments: list[str], sentence: str) -> None:
    result = gnt_storage(site, *arguments)
    assert (result.status, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("gnt-storage: ")
    assert sentence in result.stderr


def test_info_of_a_directory(site: Site) -> None:
    result = gnt_storage(site, "info", str(PROVIDER))
    assert (result.status, result.stderr) == (0, "")
    assert "Pools: default" in result.stdout
