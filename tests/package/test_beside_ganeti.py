# SPDX-License-Identifier: Apache-2.0
"""Ganeti has a gnt-storage, its manual page and its completion: ours come first, Ganeti's stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.package.conftest import Tree

COMPLETIONS = "/usr/share/bash-completion/completions"
GANETIS = {
    "/usr/sbin/gnt-storage": "/usr/sbin/gnt-storage.ganeti",
    "/usr/share/man/man8/gnt-storage.8.gz": "/usr/share/man/man8/gnt-storage.ganeti.8.gz",
    f"{COMPLETIONS}/gnt-storage": f"{COMPLETIONS}/gnt-storage.ganeti",
    f"{COMPLETIONS}/ganeti": f"{COMPLETIONS}/ganeti.ganeti",
}
"""Files of Ganeti's package that have the names of ours, and where they are beside ours."""


def is_ours(tree: Tree, path: str) -> bool:
    """Whether what is there is what our package brings: a link into our library, or a file of ours."""
    file = tree.run(f"readlink -m {path}").strip()
    sums = "/var/lib/dpkg/info/ganeti-extstorage.md5sums"
    return tree.call(f"cd /; grep -F '  {file[1:]}' {sums} | md5sum --status -c").returncode == 0


def are_ours(tree: Tree, ganeti: bool = True) -> None:
    """Check that the names are ours, with Ganeti's beside them if it is there."""
    for name, beside in GANETIS.items():
        assert is_ours(tree, name), name
        assert tree.exists(beside) == ganeti, beside


def are_ganetis(tree: Tree) -> None:
    """Check that all is as if ours had never been there."""
    for name, beside in GANETIS.items():
        assert tree.exists(name), name
        assert not is_ours(tree, name), name
        assert not tree.exists(beside), beside
    assert "extstorage" not in tree.run("dpkg-divert --list")


@pytest.mark.parametrize("first", ["ganeti", "ours"])
def test_whichever_came_first(tree: Tree, package: Path, ganeti: Path, first: str) -> None:
    if first == "ganeti":
        tree.unpack(ganeti)
        tree.run(f"dpkg -i --force-depends {tree.put(package)}")
    else:
        tree.install(package)
        tree.unpack(ganeti)
    are_ours(tree)
    # Ganeti's completions are all in one file: with any of them come all.
    complete = f". {COMPLETIONS}/gnt-instance; complete -p gnt-storage gnt-instance"
    ours, ganetis = tree.run(f"bash -c '{complete}'").splitlines()
    assert "_gnt_storage_completion" in ours
    assert "_gnt_instance " in ganetis
    tree.run("dpkg --remove ganeti-extstorage")
    are_ganetis(tree)


def test_ganeti_goes_first(tree: Tree, package: Path, ganeti: Path) -> None:
    tree.install(package)
    tree.unpack(ganeti)
    tree.run("dpkg --remove --force-depends ganeti")
    are_ours(tree, ganeti=False)
    tree.run("dpkg --purge ganeti-extstorage")
    assert "extstorage" not in tree.run("dpkg-divert --list")


def test_installing_fails(tree: Tree, package: Path, ganeti: Path, squatter: Path) -> None:
    """After a package that could not be unpacked, all is as it was."""
    tree.unpack(ganeti, squatter)
    done = tree.call(f"dpkg -i --force-depends {tree.put(package)}")
    assert done.returncode == 1
    assert "which is also in package squatter" in done.stderr
    are_ganetis(tree)


def test_upgrading_fails(tree: Tree, older: Path, package: Path, ganeti: Path, squatter: Path) -> None:
    """After an upgrade that could not be unpacked, the version before is still whole."""
    tree.unpack(ganeti)
    tree.run(f"dpkg -i --force-depends {tree.put(older)} {tree.put(squatter)}")
    done = tree.call(f"dpkg -i --force-depends {tree.put(package)}")
    assert done.returncode == 1
    assert "which is also in package squatter" in done.stderr
    are_ours(tree)
    assert (
        tree.run("dpkg-query -W -f '${Version} ${db:Status-Status}' ganeti-extstorage") == "0.0.9 installed"
    )
    assert "file" in tree.run("gnt-storage info")
