# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage install`` and ``uninstall``, run as processes; this node is one of those installed on."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extstorage_common import __version__
from gnt_storage.install.agent.node import CONFIG, SEARCHED
from tests.conftest import CHECKOUT, Result, Site
from tests.gnt_storage.install.conftest import Agent
from tests.gnt_storage.test_commands import gnt_storage


def command(agent: Agent, *arguments: str) -> Result:
    """Run ``gnt-storage`` on n1, whose root is the agent's."""
    environment = {name: value for name, value in agent.environment.items() if name != "PATH"}
    ssh = {"EXTSTORAGE_SSH_CONFIG": str(agent.site.directory / "ssh_config")}
    return gnt_storage(agent.site, *arguments, **environment, **ssh)


def document(result: Result, status: int = 0) -> dict[str, Any]:
    assert result.status == status, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(autouse=True)
def cluster(site: Site) -> None:
    """Three nodes: this one, one that nobody reaches, one that is offline."""
    (site.directory / "ssh_config").write_text("Port 1\nBatchMode yes\n")
    (site.ssconf / "ssconf_node_primary_ips").write_text("n1 127.0.0.1\nn2 127.0.0.1\nn3 127.0.0.1\n")
    (site.ssconf / "ssconf_nodegroups").write_text("uuid rack1\n")
    site.offline("n3")


def test_where_must_be_said(agent: Agent) -> None:
    for name in ("install", "uninstall"):
        result = command(agent, name, "file")
        assert (result.status, "--all" in result.stderr) == (2, True)
    assert list(agent.root.iterdir()) == []


def test_one_node(agent: Agent) -> None:
    shown = command(agent, "install", "file", "--node", "n1", "--dry-run").stdout
    assert shown.startswith("n1: would be changed\n  added    /usr/local/lib/")
    assert f"    +directory = {agent.site.pool}\n" in shown
    assert list(agent.root.iterdir()) == []
    told = document(command(agent, "install", "file", "--node", "n1", "--json"))
    assert told["release"].startswith(__version__ + "-")
    assert [told[key] for key in ("version", "action", "providers", "dry_run")] == [
        1,
        "install",
        ["file"],
        False,
    ]
    (one,) = told["nodes"]
    assert [one[key] for key in ("node", "result", "status", "reason")] == ["n1", "changed", 0, ""]
    assert {"path": f"{SEARCHED}/file", "change": "added", "diff": ""} in one["changes"]
    assert agent.verify().returncode == 0
    assert command(agent, "install", "file", "--node", "n1").stdout == "n1: unchanged\n"


def test_a_group_of_which_one_is_away_and_one_offline(agent: Agent) -> None:
    result = command(agent, "install", "file", "--group", "rack1")
    assert result.status == 8
    assert sorted(result.stdout.splitlines()) == [
        "n1: changed",
        "n2: unreachable: its SSH port refuses connections",
        "n3: skipped: it is marked offline",
    ]
    assert result.stderr == "gnt-storage: not done on 1 of 3 nodes: n2\n"
    told = document(command(agent, "install", "file", "--all", "--json"), status=8)
    assert [one["result"] for one in told["nodes"]] == ["unchanged", "unreachable", "skipped"]


def test_under_another_name(agent: Agent) -> None:
    (agent.site.config / "nfs1.conf").write_text((agent.site.config / "file.conf").read_text())
    assert command(agent, "install", "file", "--as", "nfs1", "--node", "n1").status == 0
    assert agent.verify("nfs1").returncode == 0
    assert not agent.path(CONFIG, "file.conf").exists()
    result = command(agent, "install", "file", "other", "--as", "nfs1", "--node", "n1")
    assert (result.status, "--as gives a name to one provider" in result.stderr) == (2, True)


def test_what_does_not_verify(agent: Agent) -> None:
    agent.site.pool.rename(agent.site.directory / "away")
    result = command(agent, "install", "file", "--node", "n1")
    assert result.status == 8
    assert "marker file" in result.stdout
    assert result.stdout.endswith("; nothing was switched\n")
    assert not agent.path(SEARCHED).exists()
    result = command(agent, "install", "file", "--node", "n1", "--no-verify")
    assert (result.status, result.stdout.startswith("n1: changed\nerror: n1: file: ")) == (1, True)


def test_what_diagnose_finds_afterwards(agent: Agent) -> None:
    earlier = agent.site.directory / "earlier"
    (earlier / "file").mkdir(parents=True)
    (earlier / "other").mkdir()
    agent.environment["EXTSTORAGE_SEARCH_PATH"] = f"{earlier}:{agent.path(SEARCHED)}"
    result = command(agent, "install", "file", "--node", "n1")
    assert result.status == 1
    assert (
        f"error: n1: file: {agent.path(SEARCHED)}/file is never used, since {earlier}/file" in result.stdout
    )
    assert "other" not in result.stdout
    told = document(command(agent, "install", "file", "--node", "n1", "--json"), status=1)
    assert told["nodes"][0]["result"] == "unchanged"
    assert {one["provider"] for one in told["findings"]} == {"file"}


def test_uninstall(agent: Agent, site: Site) -> None:
    command(agent, "install", "file", "--node", "n1")
    result = command(agent, "uninstall", "file", "--node", "n1")
    assert (result.status, "Remove file from 1 node?" in result.stderr) == (6, True)
    assert agent.verify().returncode == 0
    site.node("n2").create("v1")
    result = command(agent, "uninstall", "file", "--node", "n1", "--yes")
    assert (result.status, "is still used, by 1 volume(s) (v1 in pool default)" in result.stderr) == (6, True)
    arguments = ("uninstall", "file", "--node", "n1", "--yes", "--force", "--json")
    told = document(command(agent, *arguments))
    assert [told[key] for key in ("version", "action", "providers", "dry_run")] == [
        1,
        "uninstall",
        ["file"],
        False,
    ]
    assert told["nodes"][0]["result"] == "changed"
    assert not agent.path(SEARCHED).exists()
    assert agent.path(CONFIG, "file.conf").exists()
    assert site.volumes() == ["v1"]


def test_the_installed_command_names_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "gnt_storage").mkdir()
    (tmp_path / "gnt_storage/main.py").write_text("import nosuch\n")
    launcher = shutil.copy(CHECKOUT / "gnt_storage/gnt-storage", tmp_path / "gnt_storage")
    done = subprocess.run([launcher], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "module nosuch is missing: apt install python3-click python3-rich" in done.stderr
