# SPDX-License-Identifier: Apache-2.0
"""Nodes on one machine: the provider's executables, run as Ganeti runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

# The same examples in every run, however long one takes.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")

CHECKOUT = Path(__file__).resolve().parents[1]
PROVIDER = CHECKOUT / "providers/file"
MARKER = ".ganeti-extstorage-pool"
MIB = 1 << 20
CALL_SECONDS = 120
"""How long a call may take at most, on a slow machine; it gives up by itself after 50 s."""


class Result(NamedTuple):
    """How a call ended."""

    status: int
    stdout: str
    stderr: str


class Scripts(ABC):
    """A provider's executables on one node, called as Ganeti calls them."""

    @abstractmethod
    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        """Run a script on a volume; keyword arguments are variables."""

    def ok(self, action: str, volume: str = "v1", **variables: str) -> str:
        """Run a script that must succeed, silently; returns what it printed on stdout."""
        result = self.call(action, volume, **variables)
        assert (result.status, result.stderr) == (0, ""), result
        assert action == "attach" or result.stdout == ""
        return result.stdout

    def fails(self, status: int, action: str, volume: str = "v1", **variables: str) -> str:
        """Run a script that must fail with this status and one line; returns that line."""
        result = self.call(action, volume, **variables)
        assert result.status == status, result
        assert result.stdout == ""
        assert result.stderr.endswith("\n")
        assert result.stderr.count("\n") == 1
        return result.stderr

    def create(self, volume: str = "v1", size: int = 16, **variables: str) -> None:
        """Make a volume of ``size`` MiB."""
        self.ok("create", volume, VOL_SIZE=str(size), **variables)

    def attach(self, volume: str = "v1", **variables: str) -> str:
        """Attach, and return the device."""
        return self.ok("attach", volume, **variables).splitlines()[0]

    def open(self, volume: str = "v1", exclusive: bool = True) -> Result:
        """Open; returns how it ended."""
        return self.call("open", volume, VOL_OPEN_EXCLUSIVE=str(exclusive))

    def grow(self, size: int, new_size: int, volume: str = "v1", **variables: str) -> Result:
        """Grow from ``size`` to ``new_size`` MiB; returns how it ended."""
        return self.call("grow", volume, VOL_SIZE=str(size), VOL_NEW_SIZE=str(new_size), **variables)

    def snapshot(self, volume: str = "v1") -> Result:
        """Make ``<volume>.snap``; returns how it ended."""
        return self.call("snapshot", volume, VOL_SNAPSHOT_NAME=volume + ".snap", VOL_SNAPSHOT_SIZE="16")


class Node(Scripts):
    """One node: directories of its own over the pools that it shares with the others."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.run_dir = site.directory / name / "run"
        self.provider = PROVIDER
        self.prefix: list[str] = []
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "PWD": "/",
            "SSH_CLIENT": "192.0.2.1 1 22",
            "PYTHONPATH": "/nonexistent",
            "EXTP_PROVIDER": "file",
            "EXTP_ACCESS": "kernelspace",
            "EXTSTORAGE_CONFIG_DIR": str(site.config),
            "EXTSTORAGE_RUN_DIR": str(self.run_dir),
            "EXTSTORAGE_LOG_DIR": str(site.directory / name / "log"),
            "EXTSTORAGE_SSCONF_DIR": str(site.ssconf),
            "EXTSTORAGE_NODE": name,
        }

    def start(self, action: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a script as Ganeti does: in its directory, umask 077, with an empty standard input."""
        return subprocess.Popen(
            [*self.prefix, str(self.provider / action), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.provider,
            umask=0o077,
            env={**self.environment, **variables},
        )

    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        process = self.start(action, *arguments, VOL_NAME=volume, **variables)
        stdout, stderr = process.communicate(timeout=CALL_SECONDS)
        return Result(process.returncode, stdout.decode(), stderr.decode())

    def record(self, volume: str = "v1") -> str:
        """This node's record of a volume; empty if there is none."""
        path = self.run_dir / "attachments" / volume
        return path.read_text() if path.exists() else ""

    def left(self) -> list[str]:
        """What this node still knows of any volume."""
        found = [self.run_dir / kind for kind in ("attachments", "dev", "locks")]
        return [str(path) for directory in found if directory.exists() for path in directory.iterdir()]


class Site:
    """Pools, and the nodes that share them."""

    provider = PROVIDER

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "etc"
        self.ssconf = directory / "ssconf"
        self.pool = directory / "pool"
        self.config.mkdir()
        self.ssconf.mkdir()
        self.configure(f"[default]\ndirectory = {self.pool}\n")
        self.init("default")

    def configure(self, text: str) -> None:
        """Write the provider's configuration."""
        (self.config / "file.conf").write_text(text)

    def init(self, pool: str) -> str:
        """Make a pool real, with the administrator's command; returns what it printed."""
        environment = {**os.environ, "EXTSTORAGE_CONFIG_DIR": str(self.config)}
        command = [sys.executable, "-m", "gnt_storage", "pool", "init", str(self.provider), pool]
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def node(self, name: str) -> Node:
        """A node of this name."""
        return Node(self, name)

    def offline(self, *nodes: str) -> None:
        """Mark nodes offline, as ``gnt-node modify -O yes`` does on every node."""
        (self.ssconf / "ssconf_offline_nodes").write_text("".join(node + "\n" for node in nodes))

    def volumes(self) -> list[str]:
        """What is in the pool beside its marker."""
        return sorted(path.name for path in self.pool.iterdir() if path.name != MARKER)

    def loop_devices(self) -> list[str]:
        """The loop devices on files of this site."""
        return loop_devices(self.directory)


def loop_devices(directory: Path) -> list[str]:
    """The loop devices on files below a directory."""
    command = ["losetup", "-n", "-O", "NAME,BACK-FILE", "--raw"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if f" {directory}/" in line]


def release_loop_devices(directory: Path) -> None:
    """Release what a test left."""
    for device in loop_devices(directory):
        subprocess.run(["losetup", "-d", device], check=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A pool named ``default``; loop devices that a test leaves are released."""
    site = Site(tmp_path)
    yield site
    release_loop_devices(tmp_path)


@pytest.fixture
def n1(site: Site) -> Node:
    """The first node."""
    return site.node("n1")


@pytest.fixture
def n2(site: Site) -> Node:
    """The second node."""
    return site.node("n2")


def size_of(device: str) -> int:
    """The size of a block device in bytes."""
    with open(device, "rb") as file:
        return file.seek(0, os.SEEK_END)


def put(device: str, data: bytes, offset: int = 0) -> None:
    """Write to a device and wait until it is at the storage."""
    with open(device, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def get(device: str, size: int, offset: int = 0) -> bytes:
    """Read from a device."""
    with open(device, "rb") as file:
        file.seek(offset)
        return file.read(size)
