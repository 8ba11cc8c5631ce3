# SPDX-License-Identifier: Apache-2.0
"""A controller on loopback, with OpenSSH's own server, and nodes that may only use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Node, Site, release_loop_devices
from tests.machines import free_port, wait_until

SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PidFile {directory}/pid
SetEnv {environment}
"""
NODE = """
[default]
controller = 127.0.0.1
controller_port = {port}
"""
GONE = 1
"""A port at which nobody listens."""


class Controller:
    """A machine with the pool; its server can be stopped, killed and stand still."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.directory = site.directory / "ctl"
        self.directory.mkdir()
        self.port = free_port()
        self.new_host_key()
        self.keys = self.directory / "authorized_keys"
        self.keys.touch(0o600)
        self.log = self.directory / "log/file.log"
        self.environment = {
            "EXTSTORAGE_CONFIG_DIR": str(site.config),
            "EXTSTORAGE_RUN_DIR": str(self.directory / "run"),
            "EXTSTORAGE_LOG_DIR": str(self.directory / "log"),
            "EXTSTORAGE_SSCONF_DIR": str(self.directory),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def new_host_key(self) -> None:
        """Give the server another host key."""
        for name in ("host", "host.pub"):
            (self.directory / name).unlink(missing_ok=True)
        _keygen(self.directory / "host")

    def known_host(self) -> str:
        """The line for a known_hosts."""
        return f"[127.0.0.1]:{self.port} {(self.directory / 'host.pub').read_text()}"

    def start(self, **environment: str) -> None:
        """Start the server; variables are for the controller's executable."""
        told = " ".join(f"{key}={value}" for key, value in {**self.environment, **environment}.items())
        file = self.directory / "sshd_config"
        file.write_text(SERVER.format(port=self.port, directory=self.directory, environment=told))
        os.makedirs("/run/sshd", exist_ok=True)
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", file], stderr=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stderr
        while b"listening" not in self.process.stderr.readline():
            assert self.process.poll() is None, "sshd does not start"

    def stop(self) -> None:
        """End the server and all its connections."""
        if self.process is None:
            return
        for pid in _descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()
        self.process = None

    def freeze(self) -> None:
        """Let the server and its connections stand still."""
        assert self.process
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            os.kill(pid, signal.SIGSTOP)

    def connections(self) -> int:
        """How many connections the server has."""
        assert self.process
        return len(_children(self.process.pid))

    def authorize(self, node: str, key: Path, *pools: str) -> str:
        """The line that the administrator's command prints."""
        return self.command("authorize", node, str(key), "--cluster", "c1", *pools).stdout

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``gnt-storage controller`` on the controller."""
        command = [sys.executable, "-m", "gnt_storage", "controller", *words]
        environment = {"PATH": os.environ["PATH"], **self.environment}
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, check=False, capture_output=True, text=True
        )

    def calls(self) -> list[str]:
        """What was asked for: the words of each line of the log, without time and duration."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [" ".join(line.split()[1:6]) for line in lines]


class Consumer(Node):
    """A node without the pool: it has its controller's name, a key and a known_hosts."""

    def __init__(self, controller: Controller, name: str, pools: Sequence[str] = ("file",)) -> None:
        super().__init__(controller.site, name)
        self.controller = controller
        self.config = controller.site.directory / name / "etc"
        self.config.mkdir(parents=True)
        # The path of a control socket is limited, and pytest's directories are long.
        self.run_dir = Path(tempfile.mkdtemp(prefix="extstorage-", dir="/tmp"))
        self.environment["EXTSTORAGE_RUN_DIR"] = str(self.run_dir)
        self.environment["EXTSTORAGE_CONFIG_DIR"] = str(self.config)
        self.configure()
        self.key = self.config / "controller_key"
        _keygen(self.key)
        self.known_hosts = self.config / "known_hosts"
        self.known_hosts.write_text(controller.known_host())
        with open(controller.keys, "a") as keys:
            keys.write(controller.authorize(name, self.key.with_suffix(".pub"), *pools))

    def configure(self, more: str = "", port: int = 0) -> None:
        """Write the node's own configuration."""
        (self.config / "file.conf").write_text(NODE.format(port=port or self.controller.port) + more)

    def masters(self) -> list[int]:
        """The processes that keep this node's shared connection."""
        command = ["pgrep", "-f", f"^ssh .*{self.run_dir}/ssh/.* -fNM "]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return [int(pid) for pid in found]

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Meanwhile the shared connection has a session of somebody who says nothing."""
        (socket,) = (self.run_dir / "ssh").glob("*[!k]")
        command = ["ssh", "-F", "none", "-S", str(socket), "-oBatchMode=yes", "127.0.0.1", "x"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline(), "it is not let in"
            yield
            process.kill()

    def kill_masters(self) -> None:
        """Kill what keeps the shared connection; it leaves its socket."""
        for pid in self.masters():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.masters())

    def end(self) -> None:
        """End what keeps connections, and remove the node."""
        self.kill_masters()
        shutil.rmtree(self.run_dir)


def _keygen(file: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file], check=True)


def _children(pid: int) -> list[int]:
    command = ["pgrep", "-P", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in found]


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found


@pytest.fixture
def controller(site: Site) -> Iterator[Controller]:
    """A controller of the site's pool."""
    controller = Controller(site)
    yield controller
    controller.stop()
    release_loop_devices(site.directory)


@pytest.fixture
def c1(controller: Controller) -> Iterator[Consumer]:
    """The first node."""
    node = Consumer(controller, "n1")
    yield node
    node.end()


@pytest.fixture
def c2(controller: Controller) -> Iterator[Consumer]:
    """The second node."""
    node = Consumer(controller, "n2")
    yield node
    node.end()
