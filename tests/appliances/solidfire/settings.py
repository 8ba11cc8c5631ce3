# SPDX-License-Identifier: Apache-2.0
"""What one modelled cluster is like: its name, its limits, and what nobody could tell us for sure."""

from __future__ import annotations

from dataclasses import dataclass, field

LIMITS = {
    "accountCountMax": 5000,
    "accountNameLengthMax": 64,
    "accountNameLengthMin": 1,
    "cloneJobsPerVolumeMax": 2,
    "initiatorNameLengthMax": 224,
    "initiatorsPerVolumeAccessGroupCountMax": 128,
    "secretLengthMax": 16,
    "secretLengthMin": 12,
    "snapshotNameLengthMax": 255,
    "snapshotsPerVolumeMax": 32,
    "volumeAccessGroupCountMax": 1000,
    "volumeAccessGroupNameLengthMax": 64,
    "volumeAccessGroupNameLengthMin": 1,
    "volumeAccessGroupsPerInitiatorCountMax": 1,
    "volumeAccessGroupsPerVolumeCountMax": 64,
    "volumeCountMax": 4000,
    "volumeNameLengthMax": 64,
    "volumeNameLengthMin": 1,
    "volumeSizeMax": 17592186044416,
    "volumeSizeMin": 1000000000,
    "volumesPerAccountCountMax": 2000,
    "volumesPerVolumeAccessGroupCountMax": 2000,
}
"""What GetLimits says (section 3.2)."""


@dataclass
class Settings:
    """One cluster. The members below the first blank line are what is not known of the real one."""

    unique_id: str = "jyay"
    name: str = "model"
    svip: str = "127.0.0.1"
    api_version: float = 12.5
    login: str = "admin"
    password: str = "secret"
    reader: str = "reader"
    reader_password: str = "readonly"
    capacity: int = 10 << 40
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    purge_hours: int = 8
    clone_seconds: float = 0.0

    secrets_may_be_equal: bool = False
    """Older versions took the same text as initiatorSecret and targetSecret."""
    removal_ends_sessions: bool = True
    """Whether taking a volume out of an access group ends the sessions that used the group."""
    names_are_free_again: bool = True
    """Whether the username of a removed account can be given again."""
    knows_volume_name: bool = True
    """Whether ListVolumes filters by volumeName; a version that does not reports it as unused."""
    knows_initiator_chap: bool = True
    """Whether an initiator can have secrets of its own (requireChap)."""
    deleted_again: str = "xVolumeIDDoesNotExist"
    """The error of DeleteVolume on a volume that is deleted already."""
    purged_active: str = "xVolumeIDDoesNotExist"
    """The error of PurgeDeletedVolume on a volume that is not deleted."""
    adding_twice_fails: bool = False
    """Whether a volume that is in an access group already can't be added (xAlreadyInVolumeAccessGroup)."""
    full: str = "xExceededLimit"
    """The error of a cluster that has no space left to promise."""
