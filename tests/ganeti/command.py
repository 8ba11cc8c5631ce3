# SPDX-License-Identifier: Apache-2.0
"""A real Ganeti cluster on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.command import Command
from tests.ganeti.cluster import HYPERVISORS
from tests.ganeti.namespace_cluster import DIRECTORY, NamespaceCluster
from tests.ganeti.namespaces import NamespaceNode

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


def command() -> Command:
    cluster = Command("cluster", __doc__, DIRECTORY)
    make = cluster.add("up", up, "make a cluster and leave it running")
    make.add_argument("--nodes", type=int, default=3, help="how many (default: %(default)s)")
    make.add_argument("--hypervisors", default=",".join(HYPERVISORS), help="(default: %(default)s)")
    make.add_argument("--bare", action="store_true", help="only the nodes: do not initialise Ganeti")
    make.add_argument("--deb", type=Path, action="append", default=[], metavar="FILE.deb", help=DEB)
    run = cluster.add("exec", execute, "run a command (or a shell) in a node; its exit status is passed on")
    run.add_argument("node", type=int, metavar="N", help="the node's number, from 1; 1 is the master")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    cluster.add("status", status, "show the nodes; exit status 1 if no cluster is running")
    cluster.add("down", down, "end the cluster, or what is left of one")
    return cluster


if __name__ == "__main__":
    sys.exit(command().main())
