# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong, as one tree.

A class says two things: its ``status`` is the exit status of the script or command, its ``template``
the reason and the way out, filled in from the fields given where it is raised::

    raise HeldElsewhere(node="node2", mode="exclusive")

Nobody formats a message where an error is raised, and nobody but the door (``script.py``) and
``gnt-storage`` prints one; they put in front what was being done, to what volume, in what pool.
"""

from __future__ import annotations

import os


def one_line(text: str) -> str:
    """``text`` with everything that is not printable escaped, so that it is one line on any terminal."""
    return (
        "".join(
            char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
            for char in text
        )
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )


class ExtStorageError(Exception):
    """An error that this suite foresaw. Its subclasses are the kinds; ``str()`` is the sentence."""

    status = 1
    template = "{reason}"

    def __init__(self, **fields: object) -> None:
        super().__init__(fields)
        self.fields = fields

    def __str__(self) -> str:
        return one_line(self.template.format(**self.fields))


class Unforeseen(ExtStorageError):
    """Something that this suite did not foresee: a bug."""

    template = (
        "this should not happen ({kind}: {reason}); "
        "try again with EXTSTORAGE_DEBUG=1 and report what it prints"
    )


class BadRequest(ExtStorageError):
    """What was asked for makes no sense: a missing variable, a wrong name, a wrong size."""

    status = 2


class MissingVariable(BadRequest):
    template = "{variable} is not set; Ganeti always sets it for this script"


class BadVariable(BadRequest):
    template = "{variable} is '{value}', but must be {expects}"


class UnknownParameter(BadRequest):
    template = "there is no parameter '{parameter}'; {nearest}"


class ForbiddenParameter(BadRequest):
    template = (
        "the parameter '{parameter}' may not be set for an instance's disk here; the administrator allows it "
        "with owner_options in the provider's configuration"
    )


class FixedParameter(BadRequest):
    template = "the parameter '{parameter}' can't be chosen for a disk: it is '{value}' in pool '{pool}'"


class BadParameter(BadRequest):
    template = "the parameter '{parameter}' is '{value}', but must be {expects}"


class Usage(BadRequest):
    template = "{usage}"


class UnknownCheck(BadRequest):
    template = "there is no check '{check}'; the checks are {checks}"


class Shrinking(BadRequest):
    template = "a volume never shrinks: it has {size} MiB and {new_size} MiB were asked for"


class PoolNotChosen(BadRequest):
    template = "several pools are configured ({pools}); choose one with the parameter pool"


class ConfigurationError(ExtStorageError):
    """The provider's configuration on this node, or the node itself, is not fit for use."""

    status = 3


class BadConfiguration(ConfigurationError):
    template = "{file}: {reason}"


class BadOption(ConfigurationError):
    template = "{file}: [{section}] {option} is '{value}', but must be {expects}"


class UnknownOption(ConfigurationError):
    template = "{file}: [{section}] has an unknown option '{option}'; {nearest}"


class MissingOption(ConfigurationError):
    template = "{file}: [{section}] must say {option} ({help})"


class UnknownBackend(ConfigurationError):
    template = "no backend belongs to provider '{provider}'; write backend = {backends} into {file}"


class PoolsTheSame(ConfigurationError):
    template = (
        "pools {pools} have one UUID: they are one storage, or one is a copy of another; nothing was "
        "touched: keep only one of them in {file}"
    )


class NodeUnfit(ConfigurationError):
    template = "this node can't use such volumes: {reason}"


class NotFound(ExtStorageError):
    """The storage answered, and the thing is positively not there."""

    status = 4


class VolumeNotFound(NotFound):
    template = "no such volume (looked in {where})"


class VolumeIncomplete(NotFound):
    template = (
        "the volume in pool '{pool}' is half-made: its creation by {maker} did not finish; "
        "create it again, or remove it"
    )


class PoolNotFound(NotFound):
    template = "there is no pool '{pool}'; {nearest}"


class Exists(ExtStorageError):
    """The thing is there already, complete, and was not touched."""

    status = 5


class VolumeExists(Exists):
    template = (
        "the volume exists already with {size} MiB in pool '{where}' and was left alone; remove it first"
    )


class NotASnapshot(Exists):
    template = "a volume {snapshot} exists and is no snapshot of this one; it was left alone"


class VolumeAmbiguous(Exists):
    template = "the volume is in several pools ({pools}); nothing was touched: remove or rename the wrong one"


class Busy(ExtStorageError):
    """In use here and now; trying again later can help."""

    status = 6


class LockBusy(Busy):
    template = "another call is working on it ({holder}) and did not finish within {seconds:.0f} s; try again"


class BeingMade(Busy):
    template = "the volume is just being created by {maker}; wait for that, or end it"


class DeviceBusy(Busy):
    template = "{device} is still open on this node ({users}); stop what uses it and try again"


class AttachedByAnother(Busy):
    template = "this node has it attached by provider {provider}; detach it there first"


class SnapshotInUse(Busy):
    template = "a snapshot named {snapshot} exists and is in use ({users}); detach it first"


class VolumeOpen(Busy):
    template = (
        "{device} is open on this node ({users}) and this filesystem can't clone files, "
        "so a copy would be inconsistent; stop the instance first"
    )


class Interrupted(Busy):
    template = "the call was ended by signal {signal} before it was done; call it again"


class HeldElsewhere(ExtStorageError):
    """Another node has the volume open."""

    status = 7
    template = "node {node} has the volume open ({mode}); {advice}"


class Unreachable(ExtStorageError):
    """The storage did not answer: nothing is known about the volume."""

    status = 8


class PoolUnreachable(Unreachable):
    template = "pool '{pool}' does not answer: {reason}"


class PoolMarkerMissing(Unreachable):
    template = (
        "{directory} is not pool '{pool}': its marker file {marker} is not there; mount the share, "
        "or make the pool with: gnt-storage pool init {provider} {pool}"
    )


class PoolMarkerWrong(Unreachable):
    template = "{directory} is another pool: its marker has UUID {found}, the configuration says {expected}"


class PoolTimedOutLately(Unreachable):
    template = (
        "pool '{pool}' did not answer {seconds:.0f} s ago and is left alone for a moment; try again soon"
    )


class StorageAway(Unreachable):
    template = (
        "disconnected from this node, but the storage can't be told ({reason}); detach again once it answers"
    )


class DeviceHung(Unreachable):
    template = (
        "the kernel does not let go of {device}, since its storage does not answer; detach again once it does"
    )


class Refused(ExtStorageError):
    """The storage, or the system, said no."""

    status = 9


class NotRoot(Refused):
    template = "only root can do this: {reason}"


class SystemRefused(Refused):
    template = "{what} failed: {reason}"


class SharedOpenImpossible(Refused):
    template = (
        "{device} can't do direct I/O on this filesystem, so two nodes would not see the same data; "
        "live migration needs a filesystem with direct I/O (migrate with --non-live has the same need, "
        "failover has not)"
    )


class OnlyUserspace(Refused):
    template = (
        "the volume has no device, since it was made with userspace_only; only instances whose disks have "
        "access=userspace can use it"
    )


class TimedOut(ExtStorageError):
    """The deadline passed."""

    status = 10
    template = "no answer within {seconds:.0f} s while {doing}; look at the storage, then try again"


class NoSpace(ExtStorageError):
    """The storage is full."""

    status = 11
    template = "{needed} MiB are needed, {free} MiB are free; {advice}"


class StorageFull(NoSpace):
    """The same, where the storage does not say how much it has, or how much it would need."""

    template = "{what} failed, since there is no space left ({reason}); make room"


class WrongDevice(ExtStorageError):
    """A device is there, but it is not the volume."""

    status = 12
    template = "{device} is not this volume: {reason}; it was left alone"


def unforeseen(error: Exception) -> ExtStorageError:
    """What is to be said of an exception that nobody caught: a bug, unless whoever calls is not root."""
    if isinstance(error, PermissionError) and os.geteuid():
        return NotRoot(reason=error.strerror)
    return Unforeseen(kind=type(error).__name__, reason=error)
