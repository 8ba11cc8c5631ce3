# SPDX-License-Identifier: Apache-2.0
"""The options with which commands are told on which nodes to work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def node_options(command: Command) -> Command:
    """Give a command the parameters of :func:`inventory.choose`: ``nodes``, ``groups``, ``nodes_file``."""
    for option in (
        click.option(
            "--nodes-file",
            metavar="FILE",
            help="Instead of Ganeti's nodes those of this list: NAME [ADDRESS [GROUP]] a line.",
        ),
        click.option("--group", "groups", metavar="G", multiple=True, help="Only the nodes of this group."),
        click.option("--node", "nodes", metavar="N", multiple=True, help="Only this node."),
    ):
        command = option(command)
    return command
