# SPDX-License-Identifier: Apache-2.0
"""What is taken off a node, and what is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gnt_storage.install import payload
from gnt_storage.install.agent.files import Entry
from gnt_storage.install.agent.node import BASE, COMMANDS, CONFIG, CURRENT, HOOKS, RECORDS, SEARCHED
from gnt_storage.install.payload import Payload
from tests.conftest import CALL_SECONDS, Site
from tests.gnt_storage.install.conftest import SECRET_PATH, Agent, with_secret

CONF = f"{CONFIG}/file.conf"
VERIFY = b"#!/bin/sh\n"


def paths(answer: dict[str, Any]) -> list[str]:
    assert {change["change"] for change in answer["changes"]} <= {"removed"}
    return [change["path"] for change in answer["changes"]]


def test_the_last_provider_takes_the_library(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    agent.install(new)
    hooks = sorted(link for link in new.links() if link.startswith(HOOKS))
    wanted = [f"{SEARCHED}/file", f"{COMMANDS}/gnt-storage", *hooks, BASE]
    before = agent.state()
    assert paths(agent.uninstall("file", dry_run=True)) == wanted
    assert agent.state() == before
    answer = agent.uninstall("file")
    assert (answer["result"], paths(answer)) == ("changed", wanted)
    assert list(agent.path("usr/local/lib").iterdir()) == []
    assert agent.path(CONF).exists()
    assert agent.path("var/log/ganeti/extstorage").exists()
    before = agent.state()
    assert agent.uninstall("file")["result"] == "unchanged"
    assert agent.state() == before


def test_another_provider_keeps_the_library(agent: Agent, new: Payload) -> None:
    new.providers = {"file": "file", "nfs1": "file"}
    new.files[f"{CONFIG}/nfs1.conf"] = new.files[CONF]
    agent.install(new)
    assert paths(agent.uninstall("file", config=True)) == [f"{SEARCHED}/file", CONF]
    assert not agent.path(SEARCHED, "file").exists()
    assert agent.verify("nfs1").returncode == 0


def test_configuration_goes_with_the_secrets_that_nobody_else_names(agent: Agent, new: Payload) -> None:
    what = with_secret(new, VERIFY)
    shared = f"{CONFIG}/shared.secret"
    for name in ("file", "nfs1"):
        what.files[f"{CONFIG}/{name}.conf"] = Entry(
            0o644, what.files[CONF].content + f"key_file = /{shared}\n".encode()
        )
    what.files[shared] = what.files[SECRET_PATH]
    what.secrets.append(shared)
    nfs1 = what.files[f"{CONFIG}/nfs1.conf"].content.replace(b"file.secret", b"other.secret")
    what.files[f"{CONFIG}/nfs1.conf"] = Entry(0o644, nfs1)
    what.providers = {"file": "file", "nfs1": "file"}
    agent.install(what)
    agent.uninstall("file")
    assert agent.path(SECRET_PATH).exists()
    assert paths(agent.uninstall("file", config=True)) == [SECRET_PATH, CONF]
    assert agent.path(shared).exists()
    assert paths(agent.uninstall("nfs1", config=True))[-2:] == [shared, f"{CONFIG}/nfs1.conf"]
    assert not agent.path(CONFIG).exists()


def test_refused_while_a_volume_is_attached(agent: Agent, site: Site, new: Payload) -> None:
    agent.install(new)
    node = site.node("n1")
    node.run_dir = agent.path(os.path.dirname(RECORDS))
    node.environment["EXTSTORAGE_RUN_DIR"] = str(node.run_dir)
    node.provider = agent.path(SEARCHED, "file")
    node.create("v1")
    node.attach("v1")
    answer = agent.uninstall("file", config=True)
    assert (answer["result"], answer["status"], answer["changes"]) == ("failed", 6, [])
    assert answer["reason"] == "volumes of file are attached here (v1); stop their instances first"
    assert agent.verify().returncode == 0
    # Another provider's volume is no reason.
    assert agent.uninstall("nfs1")["result"] == "unchanged"
    node.ok("detach", "v1")
    assert agent.uninstall("file")["result"] == "changed"
    assert site.volumes() == ["v1"]


def test_refused_while_a_script_runs(agent: Agent, site: Site, new: Payload) -> None:
    agent.install(new)
    directory = site.directory / "slow"
    directory.mkdir()
    os.mkfifo(directory / "file.conf")
    script = subprocess.Popen(
        [agent.path(SEARCHED, "file", "verify")],
        env={**agent.environment, "EXTSTORAGE_CONFIG_DIR": str(directory)},
    )
    with open(directory / "file.conf", "wb") as configuration:  # open once the script reads it
        answer = agent.uninstall("file")
        assert (answer["status"], f"(process {script.pid})" in answer["reason"]) == (6, True)
        configuration.write(new.files[CONF].content)
    assert script.wait(CALL_SECONDS) == 0
    assert agent.uninstall("file")["result"] == "changed"


@pytest.mark.parametrize(
    "point",
    [
        "removed.file",
        "removed.gnt-storage",
        "removed.ganeti-extstorage",
        "removed.file.conf",
        "removed.file.secret",
    ],
)
def test_killed_on_the_way(agent: Agent, new: Payload, point: str) -> None:
    agent.install(with_secret(new, VERIFY))
    stdin = payload.removal(["file"], config=True, dry_run=False)
    assert agent.run(stdin, EXTSTORAGE_CRASH_AT=point).returncode == -9
    assert not agent.path(SEARCHED, "file").exists()
    agent.uninstall("file", config=True)
    assert [path for path in agent.root.rglob("*") if not path.is_dir()] == []


def test_an_installation_that_was_broken_off_is_removed(agent: Agent, new: Payload) -> None:
    stdin = new.installation(verify=True, dry_run=False)
    assert agent.run(stdin, EXTSTORAGE_CRASH_AT="switched.current").returncode == -9
    assert agent.uninstall("file")["result"] == "changed"
    assert not agent.path(CURRENT).is_symlink()
    assert sorted(Path(agent.root).rglob(".*")) == []
