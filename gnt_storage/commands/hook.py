# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage hook``: what Ganeti's hooks of the suite do."""

from __future__ import annotations

import os
import sys

import click

from gnt_storage import ganeti, reach
from gnt_storage.commands.diagnose import summary
from gnt_storage.nodes import inventory
from gnt_storage.survey import findings, taking
from gnt_storage.survey.findings import ERROR

SHOWN = 3


@click.group()
def hook() -> None:
    """Do the work of one of Ganeti's hooks; not for people.

    \b
    Example:
      gnt-storage hook cluster-verify-post
    """


@hook.command()
def cluster_verify_post() -> None:
    """Let ``gnt-cluster verify`` say in one line what is wrong with the providers.

    Ganeti runs this on every node; all but the master leave at once.

    \b
    Example:
      gnt-storage hook cluster-verify-post
    """
    if not ganeti.is_master():
        return
    nodes = [node for node in inventory.of_cluster() if not node.why_not_asked]
    found = [finding for finding in findings.find(list(taking.take(nodes))) if finding.severity == ERROR]
    if found:
        lines = summary(found)
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        click.echo(f"{'; '.join(lines[:SHOWN])}{more} (gnt-storage diagnose shows it all)")
        sys.exit(1)


@hook.command("instance-remove-pre")
def instance_remove_pre() -> None:
    """Refuse to remove an instance while the storage of its disks does not answer.

    \b
    Example:
      GANETI_INSTANCE_NAME=web gnt-storage hook instance-remove-pre
    """
    _refuse_unreachable()


@hook.command("instance-modify-pre")
def instance_modify_pre() -> None:
    """Refuse to change an instance while the storage of its disks does not answer.

    Ganeti does not tell a hook what is to be changed: it may be the removal of a disk.

    \b
    Example:
      GANETI_INSTANCE_NAME=web gnt-storage hook instance-modify-pre
    """
    _refuse_unreachable()


def _refuse_unreachable() -> None:
    """The master alone asks: Ganeti runs these hooks on the instance's nodes, too."""
    if ganeti.is_master():
        reach.refuse_unreachable(os.environ["GANETI_INSTANCE_NAME"])


@hook.command("reach", hidden=True)
@click.argument("words", metavar="(PROVIDER VOLUME)...", nargs=-1)
def reach_volumes(words: tuple[str, ...]) -> None:
    """Succeed if the storage of these volumes answers on this node.

    \b
    Example:
      gnt-storage hook reach file f7c1.ext.disk0
    """
    for provider, volume in zip(words[::2], words[1::2], strict=True):
        reach.ask(provider, volume)
