# SPDX-License-Identifier: Apache-2.0
"""The suite brought to the nodes by our own command: from nothing, to another version, away again."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.ganeti.conftest import CHECKOUT
from tests.ganeti.instances import Instance
from tests.ganeti.providers import LOCAL, FileProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster
    from tests.ganeti.nodes import Node

NEW = "/root/suite"
OLD = "/root/suite-before"
BASE = "/usr/local/lib/ganeti-extstorage"
HOOK = "/etc/ganeti/hooks/cluster-verify-post.d/ganeti-extstorage"


class RolledOut(FileProvider):
    """The provider ``file``, for our command on the master to install."""

    # Loop devices are counted by their path, and all clusters of a machine share them.
    pool = f"/srv/shared/rolled-out-{os.getpid()}"

    def prepare(self) -> None:
        """Put this version and one before on the master, and configure a pool there."""
        master = self.cluster.master
        for directory in (NEW, OLD):
            for part in ("extstorage_common", "gnt_storage"):
                master.put_tree(CHECKOUT / part, f"{directory}/{part}")
        # The version before wrote records with fewer lines.
        attachments = f"{OLD}/extstorage_common/attachments.py"
        written = 'lines += \\[("\\(gone\\|uri\\)"'
        assert master.run(f"grep -c '{written}' {attachments}").stdout == "2\n"
        master.run(f"sed -i '/{written}/d' {attachments}")
        master.run(
            f"""sed -i 's/^__version__ = .*/__version__ = "0.0.9"/' {OLD}/extstorage_common/__init__.py"""
        )
        master.put("/etc/ganeti/extstorage/file.conf", f"[gold]\ndirectory = {self.pool}-file\n")
        self.command("pool init file gold")

    def command(
        self, arguments: str, suite: str = NEW, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """``gnt-storage`` on the master."""
        command = f"cd {suite} && /usr/bin/python3 -m gnt_storage {arguments}"
        return self.cluster.master.run(command, check=check)

    def results(self, arguments: str, suite: str = NEW, status: int = 0) -> dict[str, tuple[str, str]]:
        """What an installation says of each node: its result, and the reason."""
        done = self.command(f"{arguments} --json", suite, check=False)
        assert done.returncode == status, done
        document: dict[str, Any] = json.loads(done.stdout)
        assert not [one for one in document.get("findings", ()) if one["severity"] == "error"]
        return {one["node"]: (one["result"], one["reason"]) for one in document["nodes"]}

    def versions(self) -> list[str]:
        """The version in use on each node."""
        links = [node.run(f"readlink {BASE}/current").stdout for node in self.cluster.nodes]
        return [link.rpartition("-")[0] for link in links]

    def script(self, action: str, volume: str, variables: str = "") -> str:
        return f"cd / && VOL_NAME={volume} {variables} {LOCAL}/{self.name}/{action}"

    def clean(self) -> None:
        """Leave the nodes as they were."""
        for node in self.cluster.nodes:
            for volume in node.run("ls /run/ganeti-extstorage/attachments", check=False).stdout.split():
                node.run(self.script("detach", volume), check=False)
        left = f"{BASE} {LOCAL} /etc/ganeti/extstorage /run/ganeti-extstorage /var/log/ganeti/extstorage"
        left += f" /usr/local/lib/tmpfiles.d /etc/*/ganeti-extstorage /usr/local/sbin/gnt-storage {HOOK}"
        left += " /usr/local/lib/udev"
        self.cluster.on_all(lambda node: node.run(f"rm -rf {left}"))
        self.cluster.master.run(f"rm -rf {self.pool}-* {NEW} {OLD}")


@pytest.fixture(scope="module")
def suite(cluster: Cluster) -> Iterator[RolledOut]:
    """Nodes with nothing of ours but, on the master, two versions to install from."""
    provider = RolledOut(cluster)
    provider.prepare()
    yield provider
    provider.clean()


def everywhere(cluster: Cluster, result: str) -> dict[str, tuple[str, str]]:
    return {node.name: (result, "") for node in cluster.nodes}


def test_rolled_out_upgraded_node_by_node_and_taken_away(suite: RolledOut, cluster: Cluster) -> None:
    """From nothing to an instance that has run on every node, while half of them are old and half new."""
    one, two, three = cluster.nodes
    assert is_bare(cluster)
    shown = suite.command("install --all --dry-run file", OLD).stdout
    assert "would be changed" in shown
    assert f"+directory = {suite.pool}-file" in shown
    assert is_bare(cluster)
    assert suite.results("install --all file", OLD) == everywhere(cluster, "changed")
    assert suite.results("install --all file", OLD) == everywhere(cluster, "unchanged")
    assert suite.versions() == ["0.0.9"] * 3
    cluster.on_all(lambda node: node.run(f"test -x {HOOK}"))
    web = Instance(suite, "web", one)
    web.add()
    web.write()
    web.runs()
    suite.results(f"install file --node {two.name}")
    new = suite.versions()[1]
    assert suite.versions() == ["0.0.9", new, "0.0.9"]
    migrate(web, two)  # from old to new
    migrate(web, three)  # from new to old
    suite.results("install --all file")
    assert suite.versions() == [new] * 3
    assert two.run("/usr/local/sbin/gnt-storage --version").stdout == f"gnt-storage, version {new}\n"
    web.runs()
    migrate(web, two)  # what the old one attached
    is_not_uninstalled_in_use(suite, web)
    suite.results("install --all file", OLD)
    assert suite.versions() == ["0.0.9"] * 3
    web.runs()
    migrate(web, one)  # what the new one attached
    web.remove()
    assert suite.results("uninstall --all --yes file") == everywhere(cluster, "changed")
    assert is_bare(cluster)
    for node in cluster.nodes:
        node.run("test -e /etc/ganeti/extstorage/file.conf")


def migrate(web: Instance, target: Node) -> None:
    """Migrate, and see that it runs there with its data."""
    web.gnt(f"migrate -f -n {target.name}")
    web.node = target
    web.runs()


def is_not_uninstalled_in_use(suite: RolledOut, web: Instance) -> None:
    """The provider stays where the instance runs; with --force, only there."""
    refused = suite.command("uninstall --all --yes file", check=False)
    assert (refused.returncode, "of instance web" in refused.stderr) == (6, True)
    told = suite.results("uninstall --all --yes --force file", status=6)
    for node in suite.cluster.nodes:
        assert told[node.name][0] == ("failed" if node is web.node else "changed")
    assert f"volumes of file are attached here ({web.volume()})" in told[web.node.name][1]
    web.runs()


def is_bare(cluster: Cluster) -> bool:
    """Whether no node has anything of the suite but configuration."""
    parts = f"{BASE} {LOCAL} {HOOK} /usr/local/sbin/* /etc/cron.daily/ganeti-extstorage"
    listing = f"ls {parts} 2>/dev/null"
    return all(node.run(listing, check=False).stdout == "" for node in cluster.nodes)


def test_refused_where_the_package_is(suite: RolledOut, cluster: Cluster, package: Path) -> None:
    one, two, three = cluster.nodes
    two.install(package)
    try:
        told = suite.results("install --all file", status=9)
    finally:
        two.run("dpkg --purge ganeti-extstorage")
    assert "the Debian package ganeti-extstorage is installed here" in told[two.name][1]
    assert [told[node.name][0] for node in (one, two, three)] == ["changed", "failed", "changed"]
    suite.results("uninstall --all --yes file")


def test_a_node_that_is_away(suite: RolledOut, cluster: Cluster) -> None:
    """It is told, then left out; and the storage forgets what it had open."""
    one, two, three = cluster.nodes
    suite.results(f"install file --node {three.name}")
    for action in ("create", "attach", "open"):
        three.run(suite.script(action, "v1", "VOL_SIZE=16 VOL_OPEN_EXCLUSIVE=True"))
    three.run("kill $(cat /run/sshd.pid)")
    try:
        told = suite.results("install --all file", status=8)
        assert [told[node.name][0] for node in (one, two, three)] == ["changed", "changed", "unreachable"]
        refused = suite.command(f"node forget --yes {three.name}", check=False)
        assert (refused.returncode, "is in the cluster and not offline" in refused.stderr) == (6, True)
        cluster.set_offline(three)
        assert suite.results("install --all file")[three.name][0] == "skipped"
        assert suite.holders("v1") == {three.name: "exclusive"}
        told = json.loads(suite.command(f"node forget --yes --json {three.name}").stdout)
        assert [one["what"] for one in told["forgotten"]] == ["open, exclusive", "attached"]
        assert suite.holders("v1") == {}
    finally:
        three.run("/usr/sbin/sshd")
    cluster.set_online(three)
    for action in ("detach", "remove"):
        three.run(suite.script(action, "v1"))
    suite.results("uninstall --all --yes file")
