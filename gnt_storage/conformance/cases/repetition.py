# SPDX-License-Identifier: Apache-2.0
"""Calls that are made twice, too late, or for nothing."""

from __future__ import annotations

from gnt_storage.conformance.case import GANETI, Theme, man
from gnt_storage.conformance.trial import Failed, Probe, Trial

theme = Theme()


@theme.required(GANETI)
def create_over_existing_fails(trial: Trial) -> None:
    """Creating a volume that exists fails and leaves its data: Ganeti would hand it out as new."""
    trial.run("n1: create attach write detach create! attach read size")


@theme.required(man("detach"))
def detach_twice(trial: Trial) -> None:
    """Detaching a volume that is detached succeeds."""
    trial.run("n1: create attach detach detach")


@theme.required(man("detach"))
def detach_never_attached(trial: Trial) -> None:
    """Detaching a volume that was never attached succeeds."""
    trial.run("n1: create detach")


@theme.strict()
def remove_twice(trial: Trial) -> None:
    """Removing a volume that is gone succeeds: whoever repeats a removal wants it gone."""
    trial.run("n1: create remove remove attach!")


@theme.strict()
def remove_never_existed(trial: Trial) -> None:
    """Removing a volume that never existed succeeds."""
    trial.run("n1: remove")


@theme.required(man("detach"))
def detach_takes_the_device_away(trial: Trial) -> None:
    """After a detach the device does not show the volume any more."""
    trial.run("n1: create attach")
    device, mark = trial.block_device(), trial.write()
    trial.run("n1: detach")
    if device.shows(mark):
        raise Failed(f"{device.path} still shows the volume after detach")


@theme.required(GANETI)
def open_twice(trial: Trial) -> None:
    """Opening a volume that this node has open succeeds, in either mode."""
    trial.run("n1: create attach open(X) open(X) write open(X) read")


@theme.required(GANETI)
def close_never_opened(trial: Trial) -> None:
    """Closing a volume that nobody opened succeeds: a migration begins so."""
    trial.run("n1: create attach close close")


@theme.strict()
def close_of_absent(trial: Trial) -> None:
    """Closing or detaching a volume that does not exist succeeds: nothing is left to do."""
    trial.run("n1: close detach")


@theme.required(GANETI)
def setinfo_twice(trial: Trial) -> None:
    """The text of a volume can be set again: Ganeti does it when an instance is renamed."""
    trial.run("n1: create attach setinfo setinfo")


@theme.strict()
def grow_to_the_same_size(trial: Trial) -> None:
    """Growing to the size that the volume has succeeds."""
    trial.run("n1: create attach")
    call = trial.call("grow", probe=Probe(new_size=trial.size))
    if not call.ok:
        raise Failed(str(call))
    trial.run("n1: attach size")


@theme.strict()
def grow_again_after_success(trial: Trial) -> None:
    """A grow that is repeated, since Ganeti did not hear of its success, succeeds."""
    trial.run("n1: create attach grow")
    volume = trial.volume()
    volume.size -= trial.step
    trial.run("n1: grow attach size")


@theme.strict(nodes=1)
def two_attaches_at_once(trial: Trial) -> None:
    """Two attaches of one volume at once give the same device."""
    trial.run("n1: create")
    calls = [trial.end(one) for one in [trial.start("attach"), trial.start("attach")]]
    for call in calls:
        if not call.ok:
            raise Failed(str(call))
    if calls[0].end.stdout != calls[1].end.stdout:
        raise Failed(f"one said {calls[0].end.stdout!r}, the other {calls[1].end.stdout!r}")


@theme.strict()
def two_creates_at_once(trial: Trial) -> None:
    """Of two creates of one volume at once, one makes it and the other says that it is there or busy."""
    calls = [trial.end(one) for one in [trial.start("create"), trial.start("create")]]
    if sorted(call.ok for call in calls) != [False, True]:
        raise Failed("; ".join(f"status {call.end.status}" for call in calls))
    trial.run("n1: attach size")
