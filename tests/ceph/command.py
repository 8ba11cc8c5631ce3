# SPDX-License-Identifier: Apache-2.0
"""A real Ceph cluster on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.ceph import processes
from tests.ceph.cluster import CLIENT, DIRECTORY, POOL, Ceph
from tests.ceph.processes import CephError


def up(options: argparse.Namespace) -> int:
    ceph = Ceph(
        options.dir, store=options.store, mgr=options.mgr, address=options.address, network=options.network
    )
    ceph.up(stay=True)
    print(f"conf {ceph.conf}, pool {POOL}, user {CLIENT}, keyring {ceph.directory}/{CLIENT}.keyring")
    return 0


def execute(options: argparse.Namespace) -> int:
    if not processes.find(options.dir):
        raise CephError(f"no cluster is up in {options.dir}")
    os.environ["CEPH_CONF"] = str(options.dir.resolve() / "ceph.conf")
    command = options.command or [os.environ.get("SHELL", "/bin/sh")]
    os.execvp(command[0], command)


def down(options: argparse.Namespace) -> int:
    Ceph(options.dir).down()
    return 0


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="cluster", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, action: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--dir", type=Path, default=DIRECTORY, help="where it is (default: %(default)s)")
        command.set_defaults(action=action)
        return command

    make = add("up", up, "make a cluster and leave it running")
    make.add_argument("--store", choices=["memstore", "bluestore"], default="memstore")
    make.add_argument("--mgr", action="store_true", help="with a manager: there are figures of space then")
    make.add_argument("--address", default="127.0.0.1", help="of the daemons (default: %(default)s)")
    make.add_argument("--network", default="", metavar="PATH", help="network namespace with that address")
    run = add("exec", execute, "run a command such as rbd or ceph (or a shell) that talks to the cluster")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    add("down", down, "end the cluster, or what is left of one")
    return main


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.action(options))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except CephError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
