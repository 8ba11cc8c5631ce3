# SPDX-License-Identifier: Apache-2.0
"""What ``apt install ./ganeti-extstorage_*.deb`` brings, beside Ganeti's own files, and what it leaves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from extstorage_common import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.package.conftest import Tree

PROVIDER = "/usr/share/ganeti/extstorage/file"
LIBRARY = "/usr/share/ganeti-extstorage"
GANETIS = {
    "/usr/sbin/gnt-storage": "/usr/sbin/gnt-storage.ganeti",
    "/usr/share/man/man8/gnt-storage.8.gz": "/usr/share/man/man8/gnt-storage.ganeti.8.gz",
    "/usr/share/bash-completion/completions/gnt-storage": (
        "/usr/share/bash-completion/completions/gnt-storage.ganeti"
    ),
}
"""Files of Ganeti's package that have the names of ours, and where they are beside ours."""


def whose(tree: Tree, file: str) -> str:
    """Whose a file of these names is (Ganeti's are links, ours are not); ``""`` if it is not there."""
    script = f"if [ -L {file} ]; then echo ganeti; elif [ -e {file} ]; then echo ours; fi"
    return tree.run(script).strip()


def test_version(package: Path) -> None:
    fields = subprocess.run(
        ["dpkg-deb", "-f", package, "Version"], capture_output=True, text=True, check=True
    )
    assert fields.stdout.strip() == __version__


def test_lintian(package: Path) -> None:
    command = [
        "lintian",
        "--fail-on",
        "error,warning",
        "--allow-root",
        "--tag-display-limit",
        "0",
        str(package),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_clean_machine(tree: Tree, package: Path) -> None:
    """A volume's whole life by the installed scripts, without configuration; the command; the manual."""
    tree.install(package)
    script = f"cd {PROVIDER}; export EXTSTORAGE_RUN_DIR=/tmp/run VOL_NAME=v1 VOL_SIZE=16;"
    try:
        printed = tree.run(
            script
            + "./create; ./attach; ./attach; echo data | dd of=$(./attach) conv=sync status=none;"
            + "./detach; dd if=$(./attach) count=1 status=none | tr -d '\\000'; ./verify; ./detach; ./remove"
        )
    finally:
        tree.call(script + "./detach")
    assert printed.split("\n") == ["/tmp/run/dev/v1", "/tmp/run/dev/v1", "data", ""]
    assert "Pools: default" in tree.run("gnt-storage info file")
    assert tree.run("gnt-storage diagnose").startswith("Provider: file\n")
    for page in ("8 gnt-storage", "7 ganeti-extstorage-file"):
        assert tree.run(f"man -w {page}").strip()
    assert "_GNT_STORAGE_COMPLETE" in tree.run("cat /usr/share/bash-completion/completions/gnt-storage")
    assert tree.run("ls /usr/share/doc/ganeti-extstorage/examples") == "file.conf\n"


def test_library_is_compiled(tree: Tree, package: Path) -> None:
    tree.install(package)
    sources = tree.run(f"cd {LIBRARY}; find . -name '*.py' | wc -l")
    assert tree.run(f"cd {LIBRARY}; find . -name '*.pyc' | wc -l") == sources
    # What was compiled is what runs.
    call = f"VOL_NAME=v1 EXTSTORAGE_RUN_DIR=/tmp/run /usr/bin/python3 -ISv {PROVIDER}/detach"
    imports = tree.call(call).stderr
    assert f"{LIBRARY}/extstorage_common/__pycache__/script.cpython" in imports
    assert "wrote" not in imports


@pytest.mark.parametrize("first", ["ganeti", "ours"])
def test_beside_ganeti(tree: Tree, package: Path, ganeti: Path, first: str) -> None:
    """Ours comes first whatever was there first, Ganeti's stays reachable, and all is undone at the end."""
    unpack = f"dpkg --unpack --force-depends --force-unsafe-io /tmp/{ganeti.name} 2>&1"
    (tree.directory / "tmp" / ganeti.name).write_bytes(ganeti.read_bytes())
    if first == "ganeti":
        tree.run(unpack)
        tree.run(f"dpkg -i --force-depends {_into(tree, package)}")
    else:
        tree.install(package)
        tree.run(unpack)
    for name, beside in GANETIS.items():
        assert whose(tree, name) == "ours"
        assert whose(tree, beside) == "ganeti"
    tree.run("dpkg --remove ganeti-extstorage")
    for name, beside in GANETIS.items():
        assert whose(tree, name) == "ganeti"
        assert whose(tree, beside) == ""
    assert "extstorage" not in tree.run("dpkg-divert --list")


def test_ganeti_goes_first(tree: Tree, package: Path, ganeti: Path) -> None:
    (tree.directory / "tmp" / ganeti.name).write_bytes(ganeti.read_bytes())
    tree.install(package)
    tree.run(f"dpkg --unpack --force-depends --force-unsafe-io /tmp/{ganeti.name}")
    tree.run("dpkg --remove --force-depends ganeti")
    for name, beside in GANETIS.items():
        assert whose(tree, name) == "ours"
        assert whose(tree, beside) == ""
    tree.run("dpkg --purge ganeti-extstorage")
    assert "extstorage" not in tree.run("dpkg-divert --list")


def _into(tree: Tree, deb: Path) -> str:
    (tree.directory / "tmp" / deb.name).write_bytes(deb.read_bytes())
    return f"/tmp/{deb.name}"


def test_upgrade_with_a_volume_attached(tree: Tree, older: Path, package: Path) -> None:
    tree.install(older)
    tree.run("mkdir -p /run/ganeti-extstorage/attachments; touch /run/ganeti-extstorage/attachments/v1")
    tree.install(package)
    assert tree.run("dpkg-query -W -f '${Version}' ganeti-extstorage") == __version__
    assert tree.run(f"find {LIBRARY} -name 'bygone*'") == ""
    assert whose(tree, "/usr/sbin/gnt-storage") == "ours"
    tree.install(older)
    assert tree.run("dpkg-query -W -f '${Version}' ganeti-extstorage") == "0.0.9"


def test_removal_is_refused_while_a_volume_is_attached(tree: Tree, package: Path) -> None:
    tree.install(package)
    tree.run("mkdir -p /run/ganeti-extstorage/attachments; touch /run/ganeti-extstorage/attachments/v1")
    done = tree.call("dpkg --remove ganeti-extstorage")
    assert done.returncode == 1
    assert "this node has volumes attached: v1" in done.stderr
    tree.run(f"test -x {PROVIDER}/detach")
    assert tree.run("dpkg-query -W -f '${db:Status-Status}' ganeti-extstorage") == "installed"
    tree.run("rm /run/ganeti-extstorage/attachments/v1; dpkg --remove ganeti-extstorage")
    assert tree.call(f"test -e {PROVIDER} || test -e {LIBRARY}").returncode == 1


def test_purge_leaves_what_is_not_ours(tree: Tree, package: Path) -> None:
    tree.install(package)
    tree.run(
        "mkdir -p /etc/ganeti/extstorage; echo '[gold]' >/etc/ganeti/extstorage/file.conf;"
        "export EXTSTORAGE_CONFIG_DIR=/nowhere EXTSTORAGE_RUN_DIR=/tmp/run VOL_NAME=v1 VOL_SIZE=16;"
        f"{PROVIDER}/create"
    )
    assert tree.run("ls /var/log/ganeti-extstorage") == "file.log\n"
    done = tree.call("dpkg --purge ganeti-extstorage")
    assert done.returncode == 0
    for kept in ("/var/lib/ganeti-extstorage", "/etc/ganeti/extstorage"):
        assert f"{kept} was left as it is" in done.stderr
    tree.run("test -s /var/lib/ganeti-extstorage/file/v1/disk; test -s /etc/ganeti/extstorage/file.conf")
    for gone in ("/var/log/ganeti-extstorage", "/var/log/ganeti/extstorage", PROVIDER, LIBRARY):
        assert tree.call(f"test -e {gone}").returncode == 1, gone


def test_purge_of_an_unused_package_says_nothing(tree: Tree, package: Path) -> None:
    tree.install(package)
    assert "ganeti-extstorage" not in tree.call("dpkg --purge ganeti-extstorage").stderr


@pytest.mark.parametrize(
    "clean",
    [
        "systemd-tmpfiles --clean /usr/lib/tmpfiles.d/ganeti-extstorage.conf",
        "rmdir /run/systemd/system 2>/dev/null || true; /etc/cron.daily/ganeti-extstorage",
    ],
    ids=["systemd", "cron"],
)
def test_ganetis_logs_are_aged(tree: Tree, package: Path, clean: str) -> None:
    """Ganeti neither makes the directory nor deletes a file."""
    tree.install(package)
    logs = "/var/log/ganeti/extstorage"
    assert tree.run(f"stat -c %a {logs}") == "750\n"
    tree.run(f"cd {logs}; touch -d '31 days ago' old.log; touch -d '29 days ago' new.log")
    tree.call(clean)
    assert tree.run(f"ls {logs}") == "new.log\n"
