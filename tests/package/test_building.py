# SPDX-License-Identifier: Apache-2.0
"""One command makes the package, of what is in the checkout now, and the same again of the same."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from extstorage_common import __version__
from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with an uncommitted change, a file that is new and one that is gone."""
    directory = tmp_path_factory.mktemp("build") / "checkout"
    listed = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT)
    files = "".join(f"{name}\n" for name in listed.splitlines() if (CHECKOUT / name).exists())
    directory.mkdir()
    tar = subprocess.run(["tar", "-c", "-T", "-"], cwd=CHECKOUT, input=files.encode(), stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(directory)], input=tar.stdout, check=True)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "All"]):
        _run("git", *command, cwd=directory)
    with (directory / "README.rst").open("a") as readme:
        readme.write("Changed.\n")
    (directory / "extstorage_common/brand_new.py").touch()
    (directory / "docs/capabilities.rst").unlink()
    return directory


def _run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_version(package: Path) -> None:
    """Of the package and of the library."""
    assert _run("dpkg-deb", "-f", str(package), "Version", cwd=CHECKOUT).strip() == __version__


def test_lintian(package: Path) -> None:
    options = ("--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0")
    done = subprocess.run(["lintian", *options, package], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_of_what_is_there_now(checkout: Path, tmp_path: Path) -> None:
    """Uncommitted changes are in the package, and building leaves nothing in the checkout."""
    before = _run("git", "status", "--short", "--ignored", cwd=checkout)
    deb = _run(str(checkout / "debian/build"), str(tmp_path / "built"), cwd=tmp_path).strip()
    assert deb == f"{tmp_path}/built/ganeti-extstorage_{__version__}_all.deb"
    contents = _run("dpkg-deb", "-c", deb, cwd=tmp_path)
    assert "extstorage_common/brand_new.py" in contents
    assert "capabilities.rst" not in contents
    readme = "dpkg-deb --fsys-tarfile $0 | tar -xO ./usr/share/doc/ganeti-extstorage/README.rst.gz | zcat"
    assert _run("sh", "-c", readme, deb, cwd=tmp_path).endswith("Changed.\n")
    assert _run("git", "status", "--short", "--ignored", cwd=checkout) == before


def test_reproducible(package: Path, tmp_path: Path) -> None:
    """Byte for byte, whatever the umask, the time zone and the language."""
    script = "umask 077; TZ=Asia/Tokyo LC_ALL=C debian/build $0"
    deb = _run("sh", "-c", script, str(tmp_path), cwd=CHECKOUT).strip()
    _run("cmp", deb, str(package), cwd=tmp_path)
