# SPDX-License-Identifier: Apache-2.0
"""The agent, run as a node runs it, on a directory that stands for the node's root."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnt_storage.install import payload
from gnt_storage.install.agent.files import Entry, Tree, tree_at
from gnt_storage.install.agent.node import BASE, CONFIG, CURRENT, SEARCHED
from gnt_storage.install.payload import Payload
from gnt_storage.nodes.program import COMMAND
from tests.conftest import Site

SECRET = b"correct horse battery staple\n"
SECRET_PATH = f"{CONFIG}/file.secret"


class Agent:
    """A node below ``root``, whose pools are those of ``site``."""

    def __init__(self, site: Site, root: Path) -> None:
        self.site = site
        self.root = root
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "EXTSTORAGE_ROOT": str(root),
            "EXTSTORAGE_RUN_DIR": str(site.directory / "n1/run"),
            "EXTSTORAGE_LOG_DIR": str(site.directory / "n1/log"),
            "EXTSTORAGE_SSCONF_DIR": str(site.ssconf),
            "EXTSTORAGE_NODE": "n1",
            "EXTSTORAGE_SEARCH_PATH": str(root / SEARCHED),
        }

    def path(self, *parts: str) -> Path:
        """A path on the node."""
        return self.root.joinpath(*parts)

    def send(self, stdin: bytes, **variables: str) -> dict[str, Any]:
        """Run the agent; its answer."""
        done = self.run(stdin, **variables)
        assert (done.returncode, done.stderr) == (0, b"")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def run(self, stdin: bytes, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run the agent, however it ends."""
        environment = {**self.environment, **variables}
        return subprocess.run(
            COMMAND, input=stdin, env=environment, capture_output=True, check=False, timeout=600
        )

    def install(self, what: Payload, verify: bool = True, dry_run: bool = False) -> dict[str, Any]:
        """Install."""
        return self.send(what.installation(verify=verify, dry_run=dry_run))

    def uninstall(self, *names: str, config: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Uninstall."""
        return self.send(payload.removal(names, config=config, dry_run=dry_run))

    def verify(self, name: str = "file") -> subprocess.CompletedProcess[str]:
        """Run a provider's verify from where Ganeti looks for it, with the node's configuration."""
        return subprocess.run(
            [self.path(SEARCHED, name, "verify")],
            env={**self.environment, "EXTSTORAGE_CONFIG_DIR": str(self.path(CONFIG))},
            capture_output=True,
            text=True,
            check=False,
        )

    def release(self) -> str:
        """The release in use."""
        return os.readlink(self.path(CURRENT))

    def tree(self) -> Tree:
        """The release in use, file by file."""
        return tree_at(str(self.path(CURRENT)))

    def base(self) -> list[str]:
        """What lies beside the releases."""
        return sorted(os.listdir(self.path(BASE)))

    def state(self) -> dict[str, tuple[int, ...]]:
        """Every path on the node with all that would tell that it was touched."""
        found: dict[str, tuple[int, ...]] = {}
        for parent, directories, files in os.walk(self.root):
            for name in [".", *directories, *files]:
                status = os.lstat(os.path.join(parent, name))
                found[os.path.join(parent, name)] = (
                    status.st_ino,
                    status.st_mode,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                )
        return found

    def left_waiting(self) -> list[str]:
        """Files that wait beside their places, and what is half-made."""
        hidden = [str(path.relative_to(self.root)) for path in self.root.rglob(".*")]
        return [path for path in hidden if "__pycache__" not in path]


@pytest.fixture
def agent(site: Site) -> Agent:
    """A node with nothing on it."""
    for name in ("root", "n1"):
        (site.directory / name).mkdir()
    return Agent(site, site.directory / "root")


@pytest.fixture
def new(site: Site) -> Payload:
    """This version of the suite, without its command, with the provider ``file``."""
    tree = {path: entry for path, entry in payload.suite().items() if not path.startswith("gnt_storage/")}
    what = Payload({"file": "file"}, tree)
    text = f"[default]\ndirectory = {site.pool}\ntimeout = 20\n"
    what.files[f"{CONFIG}/file.conf"] = Entry(0o644, text.encode())
    return what


@pytest.fixture
def old(new: Payload) -> Payload:
    """A version before, with another configuration."""
    return changed(
        new,
        {"extstorage_common/__init__.py": b'__version__ = "0.0.9"\n', "extstorage_common/gone.py": b""},
        {
            f"{CONFIG}/file.conf": new.files[f"{CONFIG}/file.conf"].content.replace(
                b"timeout = 20", b"timeout = 10"
            )
        },
    )


def changed(what: Payload, tree: dict[str, bytes], files: dict[str, bytes] | None = None) -> Payload:
    """A payload with other content."""
    return replace(
        what,
        tree={**what.tree, **{path: Entry(0o644, content) for path, content in tree.items()}},
        files={**what.files, **{path: Entry(0o644, content) for path, content in (files or {}).items()}},
    )


def with_secret(what: Payload, script: bytes | None = None) -> Payload:
    """A payload whose configuration names a secret; ``script`` is in the place of ``verify``."""
    conf = what.files[f"{CONFIG}/file.conf"].content + f"password_file = /{SECRET_PATH}\n".encode()
    tree = {"providers/file/verify": Entry(0o755, script)} if script else {}
    files = {f"{CONFIG}/file.conf": Entry(0o644, conf), SECRET_PATH: Entry(0o600, SECRET)}
    return replace(what, tree=what.tree | tree, files=what.files | files, secrets=[SECRET_PATH])
