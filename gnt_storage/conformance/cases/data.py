# SPDX-License-Identifier: Apache-2.0
"""What is in a volume, and how large it is."""

from __future__ import annotations

from gnt_storage.conformance.case import GANETI, Theme, man
from gnt_storage.conformance.device import MIB
from gnt_storage.conformance.trial import Failed, Probe, Trial

theme = Theme()


def _size_is_exactly(trial: Trial, node: int = 1, key: str = "1") -> None:
    seen, wanted = trial.device(node, key).size(), trial.volume(key).size * MIB
    if seen != wanted:
        raise Failed(f"the device has {seen} bytes instead of {wanted}")


@theme.required(man("create"))
def size_is_enough(trial: Trial) -> None:
    """The device of a new volume has at least VOL_SIZE MiB."""
    trial.run("n1: create attach size")


@theme.strict()
def size_is_exact(trial: Trial) -> None:
    """The device has exactly VOL_SIZE MiB, and VOL_NEW_SIZE after it has grown."""
    trial.run("n1: create attach")
    _size_is_exactly(trial)
    trial.run("n1: grow attach")
    _size_is_exactly(trial)


@theme.required(man("grow"))
def grow_shows_after_attach(trial: Trial) -> None:
    """After a grow and a new attach the device has VOL_NEW_SIZE MiB, and its data."""
    trial.run("n1: create attach write grow detach attach size read write read")


@theme.strict()
def grow_shows_at_once(trial: Trial) -> None:
    """When grow returns, the device that is attached has VOL_NEW_SIZE MiB, and its data."""
    trial.run("n1: create attach write grow size read")


@theme.strict()
def new_volume_is_zero(trial: Trial) -> None:
    """A new volume reads as zeros, also where another one was before."""
    trial.run("n1: create[2] attach[2]")
    trial.device(key="2").fill(trial.size)
    trial.run("n1: detach[2] remove[2] create attach")
    trial.zeros(0, trial.size)


@theme.strict()
def grown_space_is_zero(trial: Trial) -> None:
    """What is new after grow reads as zeros."""
    trial.run("n1: create attach")
    trial.device().fill(trial.size)
    trial.run("n1: grow attach")
    trial.zeros(trial.size, trial.volume().size)


@theme.required(GANETI)
def data_survives_detach(trial: Trial) -> None:
    """What was written is there after detach and attach."""
    trial.run("n1: create attach write detach attach read")


@theme.required(GANETI, nodes=2)
def data_reaches_other_node(trial: Trial) -> None:
    """What was written on one node is there on another."""
    trial.run("n1: create attach open(X) write close detach")
    trial.run("n2: attach open(X) read write close detach n1: attach read")


@theme.required(GANETI)
def volumes_are_separate(trial: Trial) -> None:
    """Two volumes do not share data, and removing one leaves the other."""
    trial.run("n1: create create[2] attach attach[2] write write[2] read read[2]")
    trial.run("n1: detach[2] remove[2] read detach attach read")


@theme.required(man("snapshot"), scripts="snapshot")
def snapshot_keeps_old_data(trial: Trial) -> None:
    """A snapshot holds what the volume held, while the volume goes on."""
    trial.run("n1: create attach")
    old = trial.write()
    trial.run("n1: snapshot write read attach[snap]")
    trial.read(key="snap", mark=old)


@theme.required(man("snapshot"), scripts="snapshot")
def snapshot_is_a_volume(trial: Trial) -> None:
    """A snapshot is attached, opened, detached and removed like a volume, and then is gone."""
    trial.run("n1: create attach write snapshot attach[snap] open(X)[snap] size[snap]")
    trial.run("n1: detach[snap] remove[snap] attach[snap]! read")


@theme.strict(scripts="snapshot")
def snapshot_replaces_unused(trial: Trial) -> None:
    """A snapshot that nobody uses any more gives way to a new one of its name."""
    trial.run("n1: create attach write snapshot")
    new = trial.write()
    trial.run("n1: snapshot attach[snap]")
    trial.read(key="snap", mark=new)


@theme.strict(scripts="snapshot")
def snapshot_in_use_stays(trial: Trial) -> None:
    """A snapshot that is attached is not replaced."""
    trial.run("n1: create attach write snapshot attach[snap] snapshot!")


@theme.required(GANETI)
def changed_parameters_find_the_volume(trial: Trial) -> None:
    """A volume is found whatever the parameters say today: Ganeti changes them without a call."""
    trial.run("n1: create attach write detach")
    changed = {"EXTP_" + name.upper(): None for name in trial.engine.parameters}
    call = trial.call("attach", probe=Probe(changes={**changed, "EXTP_POOL": "conformance-nonsense"}))
    if not call.ok:
        raise Failed(str(call))
    trial.run("n1: attach read")
