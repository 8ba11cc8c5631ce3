# SPDX-License-Identifier: Apache-2.0
"""Upgrading, removing, purging: what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extstorage_common import __version__
from tests.package.conftest import LIBRARY, PROVIDER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.package.conftest import Tree

STATE = "dpkg-query -W -f '${Version} ${db:Status-Status}' ganeti-extstorage"
RUN = "export EXTSTORAGE_RUN_DIR=/run/ganeti-extstorage VOL_NAME=v1 VOL_SIZE=16"
"""Links of devices then lie in the tree's own /run, not in /dev, which all machines share."""


def test_upgrade_with_a_volume_attached(tree: Tree, older: Path, package: Path) -> None:
    """What is attached stays attached, and the new scripts know it."""
    tree.install(older)
    try:
        printed = tree.run(
            f"{RUN}; cd {PROVIDER}; ./create; ./attach; echo data | dd of=$(./attach) conv=sync status=none;"
            f"{tree.installing(package)}; cd {PROVIDER}; ./attach;"
            "dd if=$(./attach) count=1 status=none | tr -d '\\000'; ./detach"
        )
    finally:
        tree.call(f"{RUN}; {PROVIDER}/detach")
    link = "/run/ganeti-extstorage/dev/v1"
    assert printed.split("\n") == [link, link, "data", ""]
    assert tree.run(STATE) == f"{__version__} installed"
    assert tree.run(f"find {LIBRARY} -name 'bygone*'") == ""


def test_downgrade(tree: Tree, older: Path, package: Path) -> None:
    tree.install(package)
    tree.install(older)
    assert tree.run(STATE) == "0.0.9 installed"
    tree.run("gnt-storage diagnose")


def test_removal_is_refused_while_a_volume_is_attached(tree: Tree, package: Path) -> None:
    tree.install(package)
    tree.run("mkdir -p /run/ganeti-extstorage/attachments; touch /run/ganeti-extstorage/attachments/v1")
    done = tree.call("dpkg --remove ganeti-extstorage")
    assert done.returncode == 1
    assert "this node has volumes attached: v1" in done.stderr
    assert tree.run(STATE) == f"{__version__} installed"
    tree.run("gnt-storage diagnose")
    tree.run("rm /run/ganeti-extstorage/attachments/v1; dpkg --remove ganeti-extstorage")
    assert not tree.exists(PROVIDER)


HOOKS = ("cluster-verify-post", "instance-remove-pre", "instance-modify-pre")


def test_nothing_remains(tree: Tree, package: Path) -> None:
    """Of a package that was used for nothing; removal leaves what is configuration, and logs."""
    before = tree.added()
    tree.install(package)
    tree.run(
        "gnt-storage info; mkdir -p /var/log/ganeti-extstorage; touch /var/log/ganeti-extstorage/file.log"
    )
    tree.run("dpkg --remove ganeti-extstorage")
    assert tree.added() - before == {
        "/etc/cron.daily/ganeti-extstorage",
        "/etc/logrotate.d/ganeti-extstorage",
        "/var/log/ganeti/extstorage",
        "/var/log/ganeti-extstorage/file.log",
        "/etc/ganeti/hooks",
        *(f"/etc/ganeti/hooks/{hook}.d" for hook in HOOKS),
        *(f"/etc/ganeti/hooks/{hook}.d/ganeti-extstorage" for hook in HOOKS),
    }
    # What is left for Ganeti to run hinders nothing.
    for hook in HOOKS:
        tree.run(f"GANETI_INSTANCE_NAME=web /etc/ganeti/hooks/{hook}.d/ganeti-extstorage")
    assert "ganeti-extstorage" not in tree.call("dpkg --purge ganeti-extstorage").stderr
    assert tree.added() <= before


def test_purge_leaves_what_is_not_ours(tree: Tree, package: Path) -> None:
    """Volumes and the administrator's configuration; where they are is said."""
    before = tree.added()
    tree.install(package)
    tree.run(
        "mkdir -p /etc/ganeti/extstorage; echo '[gold]' >/etc/ganeti/extstorage/file.conf;"
        f"EXTSTORAGE_CONFIG_DIR=/nowhere; export EXTSTORAGE_CONFIG_DIR; {RUN}; {PROVIDER}/create"
    )
    volumes = "/var/lib/ganeti-extstorage/file"
    made = {path for path in tree.added() if path.startswith(volumes)}
    assert f"{volumes}/v1/disk" in made
    done = tree.call("dpkg --purge ganeti-extstorage")
    assert done.returncode == 0
    for kept in ("/var/lib/ganeti-extstorage", "/etc/ganeti/extstorage"):
        assert f"{kept} was left as it is" in done.stderr
    configuration = {"/etc/ganeti/extstorage", "/etc/ganeti/extstorage/file.conf"}
    assert tree.added() - before == made | configuration


def test_purge_leaves_ganetis_logs_to_other_providers(tree: Tree, package: Path) -> None:
    """Without that directory Ganeti could run none of their scripts."""
    tree.install(package)
    tree.run("mkdir -p /usr/local/lib/ganeti/extstorage/theirs; dpkg --purge ganeti-extstorage")
    assert tree.exists("/var/log/ganeti/extstorage")
