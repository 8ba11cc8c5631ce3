# SPDX-License-Identifier: Apache-2.0
"""The storage does not answer: nothing may be taken for gone, and nothing for done."""

from __future__ import annotations

from gnt_storage.conformance.case import GANETI, Theme
from gnt_storage.conformance.trial import Failed, Trial

theme = Theme()


def _fails(trial: Trial, action: str) -> None:
    call = trial.call(action)
    if call.ok:
        raise Failed(f"{call.name} succeeded while the storage was away")
    if action == "attach" and call.end.stdout:
        raise Failed(f"{call.name} failed, but printed '{call.end.stdout.strip()[:200]}'")


@theme.required(GANETI, away=True)
def away_attach_fails(trial: Trial) -> None:
    """Attaching fails while the storage is away, and finds the data when it is back."""
    trial.run("n1: create attach write detach")
    with trial.storage_away():
        _fails(trial, "attach")
    trial.attach_when_back()
    trial.run("n1: read")


@theme.required(GANETI, away=True)
def away_remove_fails(trial: Trial) -> None:
    """Removing fails while the storage is away: a success would make Ganeti forget the volume."""
    trial.run("n1: create attach write detach")
    with trial.storage_away():
        _fails(trial, "remove")
    trial.attach_when_back()
    trial.run("n1: read")


@theme.required(GANETI, away=True)
def away_create_fails(trial: Trial) -> None:
    """Creating fails while the storage is away, and makes nothing anywhere else."""
    with trial.storage_away():
        _fails(trial, "create")
    trial.run("n1: attach! create attach size")


@theme.strict(away=True)
def away_detach_is_finished(trial: Trial) -> None:
    """A detach while the storage is away loses nothing: attach and detach work when it is back."""
    trial.run("n1: create attach write")
    with trial.storage_away():
        trial.call("detach")
    trial.attach_when_back()
    trial.run("n1: read detach attach read")


@theme.strict(away=True)
def away_attached_stays_attached(trial: Trial) -> None:
    """A volume that is attached is attached while the storage is away: else Ganeti never detaches it."""
    trial.run("n1: create attach")
    with trial.storage_away():
        call = trial.call("attach")
    if not call.ok:
        raise Failed(str(call))
