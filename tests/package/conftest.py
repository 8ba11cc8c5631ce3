# SPDX-License-Identifier: Apache-2.0
"""The package, and trees to install it in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

ENTER = Path(__file__).with_name("enter")
HIDDEN = (
    *("etc/ganeti", "usr/share/ganeti", "usr/share/ganeti-extstorage", "usr/local", "var/lib/ganeti"),
    *("var/lib/ganeti-extstorage", "var/log/ganeti", "var/log/ganeti-extstorage"),
)
"""What a clean machine has not."""


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

    def install(self, deb: Path) -> str:
        """Install a package as an administrator does."""
        (self.directory / "tmp" / deb.name).write_bytes(deb.read_bytes())
        options = "--yes --no-install-recommends --allow-downgrades -o Dpkg::Options::=--force-unsafe-io"
        return self.run(f"apt-get install {options} /tmp/{deb.name} 2>&1")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our package, built from this checkout."""
    build = [str(CHECKOUT / "debian/build"), str(tmp_path_factory.mktemp("package"))]
    return Path(subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


@pytest.fixture(scope="session")
def older(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an older version's number, and a module that later versions have no more."""
    directory = tmp_path_factory.mktemp("older")
    subprocess.run(["dpkg-deb", "-R", str(package), str(directory / "tree")], check=True)
    control = directory / "tree/DEBIAN/control"
    lines = [
        "Version: 0.0.9" if line.startswith("Version:") else line for line in control.read_text().splitlines()
    ]
    control.write_text("\n".join(lines) + "\n")
    (directory / "tree/usr/share/ganeti-extstorage/extstorage_common/bygone.py").touch()
    deb = directory / "ganeti-extstorage_0.0.9_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(directory / "tree"), str(deb)], check=True)
    return deb


@pytest.fixture(scope="session")
def ganeti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ganeti's own package."""
    directory = tmp_path_factory.mktemp("ganeti")
    subprocess.run(
        ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "ganeti"], cwd=directory, check=True
    )
    (deb,) = directory.glob("ganeti_*.deb")
    return deb


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree without anything of ours or of Ganeti's."""
    return Tree(tmp_path / "tree")
