# SPDX-License-Identifier: Apache-2.0
"""The package, and trees to install it in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROVIDER = "/usr/share/ganeti/extstorage/file"
LIBRARY = "/usr/share/ganeti-extstorage"
EXAMPLE = "/usr/share/doc/ganeti-extstorage/examples/file.conf"
ENTER = Path(__file__).with_name("enter")
HIDDEN = (
    *("etc/ganeti", "usr/share/ganeti", "usr/share/ganeti-extstorage", "usr/local", "var/lib/ganeti"),
    *("var/lib/ganeti-extstorage", "var/log/ganeti", "var/log/ganeti-extstorage"),
    "etc/dpkg/dpkg.cfg.d",  # containers leave out manual pages
)
"""What a clean machine has not."""
BOOKS = ("var/cache", "var/lib/apt", "var/lib/dpkg", "var/lib/systemd", "var/log/apt", "var/log/dpkg.log")
"""Where the system notes what it installed."""


class Tree:
    """A root directory above this machine's own, to install packages in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for part in ("upper", "work", "root", "run", "tmp", *(f"upper/{name}" for name in HIDDEN)):
            (directory / part).mkdir(parents=True)
        for name in HIDDEN:
            os.setxattr(directory / "upper" / name, "trusted.overlay.opaque", b"y")
        self.run(
            "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d;"
            "rm -f /var/lib/man-db/auto-update"
        )

    def call(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the tree."""
        command = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
        return subprocess.run(
            [*command, str(ENTER), str(self.directory), script],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, script: str) -> str:
        """Run a shell script that must succeed; what it printed."""
        done = self.call(script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, deb: Path) -> None:
        """Install a package as an administrator does."""
        self.run(self.installing(deb))

    def installing(self, deb: Path) -> str:
        """The command line that installs a package."""
        options = "--yes --no-install-recommends --allow-downgrades -o Dpkg::Options::=--force-unsafe-io"
        return f"apt-get install {options} {self.put(deb)} >/tmp/apt 2>&1 || {{ cat /tmp/apt; false; }}"

    def unpack(self, *debs: Path) -> None:
        """Unpack packages without those that they depend on."""
        files = " ".join(self.put(deb) for deb in debs)
        self.run(f"dpkg --unpack --force-depends --force-unsafe-io {files} 2>&1")

    def put(self, deb: Path) -> str:
        """Where in the tree a package is now."""
        shutil.copyfile(deb, self.directory / "tmp" / deb.name)
        return f"/tmp/{deb.name}"

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        return self.call(f"test -e {path} || test -L {path}").returncode == 0

    def added(self) -> set[str]:
        """What is there beyond this machine's own, but for what the system notes for itself."""
        upper = self.directory / "upper"
        found = [path for path in upper.rglob("*") if not path.is_char_device()]  # which hides a file
        names = {str(path.relative_to(upper)) for path in found}
        changed = {name for name in names if _below(name, HIDDEN) or not Path("/", name).is_dir()}
        return {f"/{name}" for name in changed if not _below(name, BOOKS)}


def _below(name: str, directories: Sequence[str]) -> bool:
    return any(name == directory or name.startswith(f"{directory}/") for directory in directories)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our package, built from this checkout."""
    build = [str(CHECKOUT / "debian/build"), str(tmp_path_factory.mktemp("package"))]
    return Path(subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


@pytest.fixture(scope="session")
def older(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an older version's number, a module that later versions have no more, and no example."""
    directory = tmp_path_factory.mktemp("older")
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    lines = (tree / "DEBIAN/control").read_text().splitlines()
    control = ["Version: 0.0.9" if line.startswith("Version:") else line for line in lines]
    (tree / "usr/share/ganeti-extstorage/extstorage_common/bygone.py").touch()
    (tree / EXAMPLE.lstrip("/")).unlink()
    return _deb(tree, control, directory / "ganeti-extstorage_0.0.9_all.deb")


@pytest.fixture(scope="session")
def squatter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that has a file of ours, so that ours can't be unpacked beside it."""
    directory = tmp_path_factory.mktemp("squatter")
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / EXAMPLE.lstrip("/")).parent.mkdir(parents=True)
    (tree / EXAMPLE.lstrip("/")).touch()
    control = ["Package: squatter", "Version: 1", "Architecture: all", "Maintainer: -", "Description: -"]
    return _deb(tree, control, directory / "squatter_1_all.deb")


def _deb(tree: Path, control: Sequence[str], deb: Path) -> Path:
    (tree / "DEBIAN/control").write_text("\n".join(control) + "\n")
    command = ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(deb)]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return deb


@pytest.fixture(scope="session")
def download(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """Gets packages of Debian's by their names."""

    def download(*names: str) -> list[Path]:
        directory = tmp_path_factory.mktemp("debian")
        command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *names]
        subprocess.run(command, cwd=directory, check=True)
        return sorted(directory.glob("*.deb"))

    return download


@pytest.fixture(scope="session")
def ganeti(download: Callable[..., list[Path]]) -> Path:
    """Ganeti's own package."""
    (deb,) = download("ganeti")
    return deb


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree without anything of ours or of Ganeti's."""
    return Tree(tmp_path / "tree")


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree with our package, for tests that leave it as it is."""
    tree = Tree(tmp_path_factory.mktemp("installed") / "tree")
    tree.install(package)
    return tree
