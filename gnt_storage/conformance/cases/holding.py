# SPDX-License-Identifier: Apache-2.0
"""Who may use a volume at the same time."""

from __future__ import annotations

from gnt_storage.conformance.case import Theme
from gnt_storage.conformance.trial import Failed, Trial

theme = Theme()

HELD = "n1: create attach open(X) write n2: attach "


@theme.strict(nodes=2, scripts="open close")
def exclusive_excludes(trial: Trial) -> None:
    """A volume that one node has open exclusively is opened by no other living node, in either mode."""
    trial.run(HELD + "n2: open(X)! open(S)! n1: read")


@theme.strict(nodes=2, scripts="open close")
def close_gives_way(trial: Trial) -> None:
    """After a close another node may open exclusively."""
    trial.run(HELD + "n1: close n2: open(X) read n1: open(X)!")


@theme.strict(nodes=2, scripts="open close")
def detach_gives_way(trial: Trial) -> None:
    """After a detach another node may open: Ganeti's shutdown closes nothing."""
    trial.run(HELD + "n1: detach n2: open(X) read")


@theme.strict(nodes=2, scripts="open close")
def both_may_open_shared(trial: Trial) -> None:
    """Two nodes may have a volume open shared, for a live migration."""
    trial.run("n1: create attach open(S)? n2: attach open(S)? n1: write n2: read")


@theme.strict(nodes=2, scripts="open close")
def open_elsewhere_is_not_removed(trial: Trial) -> None:
    """A volume that another node has open is not removed."""
    trial.run(HELD + "n2: detach remove! n1: read")


@theme.strict(nodes=2)
def one_detach_leaves_the_other(trial: Trial) -> None:
    """A detach on one node leaves the other node's device working."""
    trial.run("n1: create attach write n2: attach detach n1: read write read")


@theme.strict()
def busy_device_stays(trial: Trial) -> None:
    """While a process has the device open, detach fails, and the device stays usable."""
    trial.run("n1: create attach write")
    with trial.block_device().held_open():
        call = trial.call("detach")
        if call.ok:
            raise Failed(f"{call.name} succeeded while a process had the device open")
        trial.run("n1: attach read write read")
    trial.run("n1: attach detach")
