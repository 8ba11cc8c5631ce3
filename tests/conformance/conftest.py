# SPDX-License-Identifier: Apache-2.0
"""Nodes on one machine, and the suite run on them as an administrator runs it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import CHECKOUT, release_loop_devices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GANETI_LOGS = "/var/log/ganeti/extstorage"


SECONDS = 3000
"""How long the suite may take, which is some minutes where nothing else is going on."""


class Suite:
    """``gnt-storage conformance`` on nodes that are directories of this machine."""

    def __init__(self, directory: Path, nodes: int, variables: dict[str, str]) -> None:
        self.directory = directory
        self.nodes = nodes
        self.variables = variables
        self.away = f"cd {directory} && mv pool away && mkdir pool"
        self.back = f"cd {directory} && rm -r pool && mv away pool"

    def run(
        self, provider: Path, *arguments: str, strict: bool = True
    ) -> tuple[int, dict[str, dict[str, Any]], str]:
        """The exit status, the results by the cases' names, and stderr. Not ``strict``: as by default."""
        command = [sys.executable, "-m", "gnt_storage", "conformance", str(provider), "--json", *arguments]
        command += ["--strict"] if strict else []
        command += ["--away", self.away, "--back", self.back]
        for number in range(1, self.nodes + 1):
            command += ["--node", f"n{number}={self.prefix(number)}"]
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        document = json.loads(done.stdout) if done.stdout else {"results": []}
        return done.returncode, {one["case"]: one for one in document["results"]}, done.stderr

    def environment(self, number: int) -> dict[str, str]:
        """What makes a shell one of the nodes."""
        return {
            "EXTSTORAGE_NODE": f"n{number}",
            "EXTSTORAGE_RUN_DIR": str(self.directory / f"n{number}/run"),
            "EXTSTORAGE_LOG_DIR": str(self.directory / f"n{number}/log"),
            "TOY_NODE_DIR": str(self.directory / f"n{number}/toy"),
            **self.variables,
        }

    def prefix(self, number: int) -> str:
        """The command that runs a shell command line on one of the nodes."""
        own = self.environment(number).items()
        return shlex.join(["env", *(f"{name}={value}" for name, value in own), "sh", "-c"])


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    """Three nodes, a pool for the ``file`` provider and a directory for the toy."""
    os.makedirs(GANETI_LOGS, exist_ok=True)
    config, pool, toy = (tmp_path / name for name in ("etc", "pool", "toy"))
    for directory in (config, toy):
        directory.mkdir()
    (config / "file.conf").write_text(f"[default]\ndirectory = {pool}\n")
    environment = {**os.environ, "EXTSTORAGE_CONFIG_DIR": str(config)}
    command = [sys.executable, "-m", "gnt_storage", "pool", "init", str(CHECKOUT / "providers/file")]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    yield Suite(tmp_path, 3, {"EXTSTORAGE_CONFIG_DIR": str(config), "TOY_DIR": str(toy)})
    release_loop_devices(tmp_path)
