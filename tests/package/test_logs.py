# SPDX-License-Identifier: Apache-2.0
"""Logs do not grow for ever. Ganeti neither makes the directory of its own nor deletes a file there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.package.conftest import Tree

GANETIS = "/var/log/ganeti/extstorage"
OURS = "/var/log/ganeti-extstorage"
TMPFILES = "/usr/lib/tmpfiles.d/ganeti-extstorage.conf"


@pytest.fixture
def tree(installed: Tree) -> Iterator[Tree]:
    """A tree with our package, whose directory of logs is as new."""
    yield installed
    installed.run(
        f"chown root /var/log/ganeti; rm -rf {GANETIS} {OURS} /run/systemd; install -d -m 750 {GANETIS}"
    )


@pytest.mark.parametrize("owner", ["root", "nobody"])
@pytest.mark.parametrize(
    "clean",
    [f"systemd-tmpfiles --clean {TMPFILES}", "/etc/cron.daily/ganeti-extstorage"],
    ids=["systemd", "cron"],
)
def test_ganetis_logs_are_aged(tree: Tree, clean: str, owner: str) -> None:
    """Also where the directory above is a daemon's of Ganeti, as it is once its daemons have been started."""
    assert tree.run(f"stat -c '%a %U' {GANETIS}") == "750 root\n"
    tree.run(
        f"chown {owner} /var/log/ganeti; chmod 770 /var/log/ganeti; ln -s /etc/passwd {GANETIS}/link.log"
    )
    tree.run(f"cd {GANETIS}; touch -d '31 days ago' old.log; touch -d '29 days ago' new.log")
    tree.run(f"{clean} 2>&1")
    assert tree.run(f"ls {GANETIS}") == "link.log\nnew.log\n"
    tree.run("test -s /etc/passwd")


def test_cron_leaves_it_to_systemd(tree: Tree) -> None:
    tree.run(f"mkdir -p /run/systemd/system; touch -d '31 days ago' {GANETIS}/old.log")
    tree.run("/etc/cron.daily/ganeti-extstorage")
    assert tree.run(f"ls {GANETIS}") == "old.log\n"


def test_diagnose_sees_that_nothing_ages_them(tree: Tree) -> None:
    tree.run(f"touch -d '50 days ago' {GANETIS}/old.log; gnt-storage diagnose")
    tree.run(f"touch -d '70 days ago' {GANETIS}/older.log")
    done = tree.call("gnt-storage diagnose")
    assert done.returncode == 1
    assert f"nothing deletes Ganeti's old files in {GANETIS}; the oldest is 70 days old" in done.stdout


@pytest.mark.parametrize("owner", ["root", "nobody"])
def test_directory_comes_back(tree: Tree, owner: str) -> None:
    """At the next start, where /var/log does not outlive one."""
    tree.run(f"rm -r {GANETIS}; chown {owner} /var/log/ganeti; systemd-tmpfiles --create {TMPFILES}")
    assert tree.run(f"stat -c '%a %U' {GANETIS}") == "750 root\n"


def test_ours_are_rotated(tree: Tree, download: Callable[..., list[Path]]) -> None:
    tree.unpack(*download("logrotate", "libpopt0"))
    tree.run("gnt-storage diagnose; logrotate --force /etc/logrotate.d/ganeti-extstorage")
    assert tree.run(f"cd {OURS} && ls file.*") == "file.log.1\n"
    tree.run("gnt-storage diagnose; logrotate --force /etc/logrotate.d/ganeti-extstorage")
    assert tree.run(f"cd {OURS} && ls file.*") == "file.log.1\nfile.log.2.gz\n"
    tree.run("gnt-storage diagnose")
    assert tree.run(f"stat -c %a {OURS}/file.log") == "640\n"
