# SPDX-License-Identifier: Apache-2.0
"""Modelled appliances that run: on this machine, or in a lab, where they export real disks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.appliances import control

if TYPE_CHECKING:
    from tests.lab.lab import Lab

CHECKOUT = Path(__file__).resolve().parents[2]


class Running:
    """An appliance that listens at ``address`` and ``port``; ``said`` is what it announced."""

    address: str
    said: dict[str, Any]

    @property
    def port(self) -> int:
        """The port of its management side."""
        return int(self.said["port"])

    def known_hosts(self) -> str:
        """The line for a ``known_hosts`` file."""
        return f"[{self.address}]:{self.port} {self.said['host_key']}\n"

    def order(self, **order: Any) -> Any:
        """Give an order (see command.py); its result."""
        return control.result(self._give(json.dumps(order)))

    def fault(self, kind: str, pattern: str = "", **fields: Any) -> None:
        """Switch a fault on."""
        self.order(fault={"kind": kind, "pattern": pattern, **fields})

    def requests(self) -> list[str]:
        """What it was asked since the last time."""
        asked: list[str] = self.order(requests=True)
        return asked

    def call(self, name: str, **arguments: Any) -> Any:
        """Call the model's method ``control_<name>``."""
        return self.order(call=name, arguments=arguments)

    def _give(self, order: str) -> str:
        raise NotImplementedError


class Native(Running):
    """An appliance on this machine, on loopback, that exports nothing."""

    def __init__(self, name: str, directory: Path, *options: str) -> None:
        self.address = "127.0.0.1"
        # The path of a socket is limited, and pytest's directories are long.
        self._own = Path(tempfile.mkdtemp(prefix="appliance-", dir="/tmp"))
        self.socket = self._own / "control"
        command = [sys.executable, "-m", f"tests.appliances.{name}", "--directory", str(directory / "data")]
        directory.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [*command, "--control", str(self.socket), *options],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            shutil.rmtree(self._own)
            raise RuntimeError(f"{name} did not start: exit status {self.process.wait()}")
        self.said = json.loads(line)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=60)
        shutil.rmtree(self._own)

    def _give(self, order: str) -> str:
        return control.give(str(self.socket), order)


class InLab(Running):
    """An appliance on the storage node of a lab, which exports real disks at 10.78.1.10 and 10.78.2.10."""

    PORTALS = "10.78.1.10:3260"

    def __init__(self, name: str, lab: Lab, *options: str, portals: str = PORTALS) -> None:
        self.node = lab.storage
        self.address = lab.storage.addresses[1]
        self.directory = f"/srv/{name}"
        self.socket = f"/run/{name}.control"
        command = (
            f"mkdir -p {self.directory}; cd /srv/checkout; /usr/bin/python3 -m tests.appliances.{name} "
            f"--directory {self.directory} --control {self.socket} --export kernel --portals {portals} "
            f"--listen {self.address}:0 {' '.join(options)} "
        )
        run = f"/run/{name}.said"
        self.node.run(
            f"rm -f {run}; ({command} >{run} 2>/run/{name}.log </dev/null & echo $! >/run/{name}.pid)\n"
            f"for i in $(seq 2400); do [ -s {run} ] && exit 0; sleep 0.05; done; "
            f"cat /run/{name}.log >&2; exit 1"
        )
        self.said = json.loads(self.node.run(["cat", run]).stdout)

    def stop(self) -> None:
        """End it, and what it exports."""
        pid = f"/run/{self.directory.rpartition('/')[2]}.pid"
        self.node.run(f"kill $(cat {pid}); tail --pid=$(cat {pid}) -f /dev/null; rm -rf {self.directory}")

    def _give(self, order: str) -> str:
        command = ["/usr/bin/python3", "/srv/checkout/tests/appliances/control.py", self.socket, order]
        return self.node.run(command).stdout
