# SPDX-License-Identifier: Apache-2.0
"""Starts a modelled appliance, and takes orders for it on a Unix socket.

The first line of its output is JSON: at which ``port`` it listens, and its ``host_key`` or ``certificate``.
An order is
a line of JSON with one of these names, answered by a line (``{"result": ...}`` or ``{"error": ...}``)::

    {"fault": {"kind": "cut", "pattern": "create", "times": 1}}
    {"clear": true}                  no faults any more
    {"requests": true}               what it was asked since the last such order
    {"connections": true}            how often somebody connected since the last such order
    {"sessions": true}               target and initiator of each iSCSI session
    {"call": "name", "arguments": {}}    a method of the model, control_name
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socketserver
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.appliances.faults import Fault
from tests.appliances.luns import Exporter, Kernel, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.appliances.model import Model, ShellModel


def parser(model: type[Model], description: str) -> argparse.ArgumentParser:
    """The options of every appliance, and of this one."""
    made = argparse.ArgumentParser(prog=model.NAME, description=description)
    made.add_argument("--directory", type=Path, required=True, help="where the data of its disks are kept")
    made.add_argument(
        "--listen", default="127.0.0.1:0", help="address and port to listen at (default: any port)"
    )
    made.add_argument("--control", type=Path, help="a Unix socket that takes orders for faults")
    made.add_argument(
        "--export", choices=("nothing", "kernel"), default="nothing",
        help="whether this machine's kernel shall really export its disks (default: %(default)s)",
    )  # fmt: skip
    made.add_argument("--portals", default="127.0.0.1:3260", help="where its disks are exported, with commas")
    model.add_options(made)
    return made


def create(model: type[Model], options: argparse.Namespace) -> Any:
    """The appliance that the options describe."""
    options.directory.mkdir(parents=True, exist_ok=True)
    exporter: Exporter = Kernel() if options.export == "kernel" else Nothing()
    made = model(options.directory, exporter, tuple(options.portals.split(",")))
    made.configure(options)
    if options.control:
        _take_orders(made, options.control)
    return made


def announce(**fields: Any) -> None:
    """Say that it is ready."""
    print(json.dumps(fields), flush=True)


def main_ssh(model: type[ShellModel], description: str, arguments: Sequence[str] | None = None) -> int:
    """Run an appliance with an SSH server in front until it is interrupted."""
    from tests.appliances import ssh  # the others need no SSH, and no library for it

    made = parser(model, description)
    ssh.add_options(made)
    options = made.parse_args(arguments)
    appliance = create(model, options)
    if not options.host_key:
        options.host_key = options.directory / "host_key"
    if not options.host_key.exists():
        ssh.make_host_key(options.host_key)
    address, _, port = options.listen.rpartition(":")

    async def run() -> None:
        server = await ssh.serve(appliance, options, address, int(port))
        announce(port=server.sockets[0].getsockname()[1], host_key=ssh.public_key(options.host_key))
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
        server.close()

    asyncio.run(run())
    appliance.exporter.publish([])
    # Commands that hang are not waited for.
    sys.stdout.flush()
    os._exit(0)


def _take_orders(model: Model, path: Path) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    answer = {"result": _obey(model, json.loads(line))}
                except Exception as error:  # whatever it is, the test shall read it
                    answer = {"error": f"{type(error).__name__}: {error}"}
                self.wfile.write(json.dumps(answer).encode() + b"\n")

    path.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _obey(model: Model, order: dict[str, Any]) -> Any:
    ((name, value),) = ((name, value) for name, value in order.items() if name != "arguments")
    orders: dict[str, Callable[[], Any]] = {
        "fault": lambda: model.faults.add(Fault(**value)),
        "clear": model.faults.clear,
        "requests": lambda: _emptied(model),
        "connections": lambda: _counted(model),
        "sessions": model.exporter.sessions,
        "call": lambda: model.control(value, order.get("arguments", {})),
    }
    with model.lock:
        return orders[name]()


def _emptied(model: Model) -> list[str]:
    taken, model.requests = model.requests, []
    return taken


def _counted(model: Model) -> int:
    taken, model.connections = model.connections, 0
    return taken
