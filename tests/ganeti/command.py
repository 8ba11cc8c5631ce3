# SPDX-License-Identifier: Apache-2.0
"""A real Ganeti cluster on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from tests.ganeti.cluster import HYPERVISORS
from tests.ganeti.namespace_cluster import DIRECTORY, NamespaceCluster
from tests.ganeti.namespaces import NamespaceNode
from tests.machines import MachineError

DEB = "install this package in each node before Ganeti is initialised; can be repeated"


def up(options: argparse.Namespace) -> int:
    hypervisors = options.hypervisors.split(",")
    cluster = NamespaceCluster(options.dir, options.nodes, hypervisors, options.deb, options.bare)
    cluster.up()
    cluster.leave()
    return 0


def execute(options: argparse.Namespace) -> int:
    command = NamespaceNode(options.dir.resolve(), options.node).command(options.command or ["bash"])
    os.execvp(command[0], command)


def status(options: argparse.Namespace) -> int:
    cluster = NamespaceCluster.standing(options.dir)
    for node in cluster.nodes if cluster else ():
        print(node.name, node.address, f"process {node.pid}" if node.running else "not running")
    return 0 if cluster else 1


def down(options: argparse.Namespace) -> int:
    NamespaceCluster(options.dir).down()
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
    make.add_argument("--nodes", type=int, default=3, help="how many (default: %(default)s)")
    make.add_argument("--hypervisors", default=",".join(HYPERVISORS), help="(default: %(default)s)")
    make.add_argument("--bare", action="store_true", help="only the nodes: do not initialise Ganeti")
    make.add_argument("--deb", type=Path, action="append", default=[], metavar="FILE.deb", help=DEB)
    run = add("exec", execute, "run a command (or a shell) in a node; its exit status is passed on")
    run.add_argument("node", type=int, metavar="N", help="the node's number, from 1; 1 is the master")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    add("status", status, "show the nodes; exit status 1 if no cluster is running")
    add("down", down, "end the cluster, or what is left of one")
    return main


def main() -> int:
    options = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7d ms  %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.action(options))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except MachineError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
