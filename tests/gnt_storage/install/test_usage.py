# SPDX-License-Identifier: Apache-2.0
"""Who still uses a provider."""

from __future__ import annotations

import json

import pytest

from extstorage_common.errors import Unreachable
from gnt_storage.install import usage
from gnt_storage.install.usage import NotMaster, ProviderInUse
from tests.conftest import Node, Site


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The master of a cluster, whose configuration is this process's."""
    environment = {**site.node("n1").environment, "EXTSTORAGE_NODE": "n1"}
    for name, value in environment.items():
        if name.startswith("EXTSTORAGE_"):
            monkeypatch.setenv(name, value)
    (site.ssconf / "ssconf_master_node").write_text("n1\n")
    (site.ssconf / "ssconf_cluster_name").write_text("here\n")
    ganeti(site)
    return site


def ganeti(site: Site, **disks: str) -> None:
    """Ganeti's configuration with an instance web that has the first of these disks (volume: provider)."""
    entries = {
        f"uuid-{volume}": {
            "dev_type": "ext",
            "logical_id": [provider, volume],
            "params": {"provider": provider},
        }
        for volume, provider in disks.items()
    }
    entries["uuid-plain"] = {"dev_type": "plain", "logical_id": ["xenvg", "file"], "params": {}}
    instances = {"uuid-web": {"name": "web", "disks": [*list(entries)[:1], "uuid-plain"]}}
    (site.ssconf / "config.data").write_text(json.dumps({"disks": entries, "instances": instances}))


def test_nobody(here: Site) -> None:
    ganeti(here, v1="other")
    usage.refuse_use("file")


def test_disks_that_ganeti_knows(here: Site) -> None:
    ganeti(here, v1="file", v2="file", v3="other")
    with pytest.raises(ProviderInUse) as raised:
        usage.refuse_use("file")
    assert raised.value.status == 6
    assert "by 2 volume(s) (v1 of instance web, v2 of no instance); remove" in str(raised.value)


def test_volumes_in_a_pool(here: Site, n1: Node) -> None:
    for number in range(7):
        n1.create(f"v{number}")
    with pytest.raises(
        ProviderInUse, match=r"by 7 volume\(s\) \(v0 in pool default, .*v4 in pool default, \.\.\.\)"
    ):
        usage.refuse_use("file")


def test_another_clusters_volumes_are_no_use(here: Site, n1: Node) -> None:
    n1.create("v1")
    (here.ssconf / "ssconf_cluster_name").write_text("elsewhere\n")
    usage.refuse_use("file")


def test_a_pool_that_does_not_answer_may_have_volumes(here: Site) -> None:
    here.pool.rename(here.directory / "away")
    with pytest.raises(Unreachable):
        usage.refuse_use("file")


def test_only_the_master_knows(here: Site) -> None:
    (here.ssconf / "ssconf_master_node").write_text("n2\n")
    with pytest.raises(NotMaster, match="call this on n2"):
        usage.refuse_use("file")
