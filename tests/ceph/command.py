# SPDX-License-Identifier: Apache-2.0
"""A real Ceph cluster on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import os
import sys

from tests.ceph import processes
from tests.ceph.cluster import CLIENT, DIRECTORY, POOL, Ceph
from tests.ceph.processes import CephError
from tests.command import Command


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


def command() -> Command:
    cluster = Command("cluster", __doc__, DIRECTORY)
    make = cluster.add("up", up, "make a cluster and leave it running")
    make.add_argument("--store", choices=["memstore", "bluestore"], default="memstore")
    make.add_argument("--mgr", action="store_true", help="with a manager: there are figures of space then")
    make.add_argument("--address", default="127.0.0.1", help="of the daemons (default: %(default)s)")
    make.add_argument("--network", default="", metavar="PATH", help="network namespace with that address")
    run = cluster.add("exec", execute, "run a command such as rbd or ceph, or a shell")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    cluster.add("down", down, "end the cluster, or what is left of one")
    return cluster


if __name__ == "__main__":
    sys.exit(command().main())
