# SPDX-License-Identifier: Apache-2.0
"""A lab of kernels on this machine, for the tests and to try things out. Root only; leaves no trace."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

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


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, action: object, text: str, node: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--dir", type=Path, default=DIRECTORY, help="where it is (default: %(default)s)")
        if node:
            count = None if node == "required" else "?"
            command.add_argument("node", metavar="NODE", help="storage, node1 ...", nargs=count, default=node)
        command.set_defaults(action=action)
        return command

    make = add("up", up, "make a lab and leave it running")
    make.add_argument("--nodes", type=int, default=2, help="how many compute nodes (default: %(default)s)")
    make.add_argument("--memory", type=int, default=512, help="MiB for each node (default: %(default)s)")
    run = add("exec", execute, "run a command in a node; its exit status is passed on", "required")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND...")
    add("shell", shell, "a shell in a node; makes a lab for it if none is running", "node1")
    add("crash", switch, "pull the plug of a node", "required").set_defaults(off=True)
    add("boot", switch, "switch a node on that crashed", "required").set_defaults(off=False)
    add("status", status, "show the nodes; exit status 1 if no lab is running")
    add("down", down, "end the lab, or what is left of one")
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
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
