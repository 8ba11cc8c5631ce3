# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage hook``: what Ganeti's hooks of the suite do."""

from __future__ import annotations

import sys

import click

from gnt_storage import ganeti
from gnt_storage.commands.diagnose import summary
from gnt_storage.nodes import inventory
from gnt_storage.survey import findings, taking
from gnt_storage.survey.findings import ERROR

SHOWN = 3


@click.group()
def hook() -> None:
    """Do what a hook of Ganeti's shall do; not for people.

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
    nodes = [node for node in inventory.of_cluster() if not node.offline]
    found = [finding for finding in findings.find(list(taking.take(nodes))) if finding.severity == ERROR]
    if found:
        lines = summary(found)
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        click.echo(f"{'; '.join(lines[:SHOWN])}{more} (gnt-storage diagnose shows it all)")
        sys.exit(1)
