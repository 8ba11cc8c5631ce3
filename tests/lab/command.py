# SPDX-License-Identifier: Apache-2.0
"""A lab of kernels on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.command import Command
from tests.lab.lab import DIRECTORY, Lab
from tests.machines import MachineError


def up(options: argparse.Namespace) -> int:
    lab = Lab(options.dir, options.nodes, options.memory)
    lab.up()
    lab.leave()
    return 0


def execute(options: argparse.Namespace) -> int:
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    command = options.words[0] if len(options.words) == 1 else options.words
    done = _standing(options.dir).node(options.node).run(command, check=False, input=data, timeout=3600)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def shell(options: argparse.Namespace) -> int:
    lab = Lab.standing(options.dir)
    made = lab is None
    lab = lab or Lab(options.dir)
    try:
        if made:
            lab.up()
        lab.node(options.node).channel.terminal(["bash", "-l"])
    finally:
        if made:
            lab.down()
    return 0


def switch(options: argparse.Namespace) -> int:
    node = _standing(options.dir).node(options.node)
    node.crash() if options.off else node.boot()
    return 0


def status(options: argparse.Namespace) -> int:
    lab = Lab.standing(options.dir)
    for node in lab.all if lab else ():
        print(node.name, *node.addresses, f"process {node.pid}" if node.running else "not running")
    return 0 if lab else 1


def down(options: argparse.Namespace) -> int:
    Lab(options.dir).down()
    return 0


def _standing(directory: Path) -> Lab:
    if lab := Lab.standing(directory):
        return lab
    raise MachineError(f"no lab is running in {directory}")


def command() -> Command:
    lab = Command("lab", __doc__, DIRECTORY)
    make = lab.add("up", up, "make a lab and leave it running")
    make.add_argument("--nodes", type=int, default=2, help="how many compute nodes (default: %(default)s)")
    make.add_argument("--memory", type=int, default=512, help="MiB for each node (default: %(default)s)")
    run = lab.add("exec", execute, "run a command in a node; its exit status is passed on")
    in_shell = lab.add("shell", shell, "a shell in a node; makes a lab for it if none is running")
    crash = lab.add("crash", switch, "pull the plug of a node")
    boot = lab.add("boot", switch, "switch a node on that crashed")
    for action in (run, crash, boot):
        action.add_argument("node", metavar="NODE", help="storage, node1 ...")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND...")
    in_shell.add_argument("node", metavar="NODE", help="(default: %(default)s)", nargs="?", default="node1")
    crash.set_defaults(off=True)
    boot.set_defaults(off=False)
    lab.add("status", status, "show the nodes; exit status 1 if no lab is running")
    lab.add("down", down, "end the lab, or what is left of one")
    return lab


if __name__ == "__main__":
    sys.exit(command().main())
