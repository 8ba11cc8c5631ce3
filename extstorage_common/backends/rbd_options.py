# SPDX-License-Identifier: Apache-2.0
"""What a pool of the ``rbd`` backend can say, and what of it a disk may choose.

The names are those of the RBD providers in the field, where these had one.
"""

from __future__ import annotations

from extstorage_common.config import AbsolutePath, Choice, Kind, Option, SecretFile, Whole, Words, YesNo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FEATURES = {
    "layering": 1,
    "striping": 2,
    "exclusive-lock": 4,
    "object-map": 8,
    "fast-diff": 16,
    "deep-flatten": 32,
    "journaling": 64,
    "data-pool": 128,
    "operations": 256,
}
"""The features of an image, and their bits (rbd/features.h)."""
CHOSEN_FEATURES = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling")
"""Those that an image is given; Ceph adds the others where they are needed."""
DEFAULT_FEATURES = "layering,exclusive-lock,object-map,fast-diff,deep-flatten"


class Features(Words):
    """Features of an image: layering must be there for snapshots, and object-map needs exclusive-lock."""

    expects = "a list of " + ", ".join(CHOSEN_FEATURES) + "; with layering, and in that order of need"

    def parse(self, text: str) -> tuple[str, ...]:
        words = super().parse(text)
        needs = {"object-map": "exclusive-lock", "fast-diff": "object-map", "journaling": "exclusive-lock"}
        if "layering" not in words or any(word not in CHOSEN_FEATURES for word in words):
            raise ValueError(text)
        if any(word in words and need not in words for word, need in needs.items()):
            raise ValueError(text)
        return words


class Never(YesNo):
    """A switch that exists elsewhere, and would be unsafe here: only ``no`` is taken."""

    expects = (
        "no: the data of an image that is there would be handed out as a new disk's (to begin with data, "
        "name what to copy with origin)"
    )

    def __init__(self) -> None:
        super().__init__()
        self.expects = type(self).expects

    def parse(self, text: str) -> Any:
        if super().parse(text):
            raise ValueError(text)
        return False


class Image(Kind):
    """An image of the same Ceph pool and namespace, or a snapshot of one: ``image@snapshot``."""

    expects = "an image, or image@snapshot"

    def parse(self, text: str) -> str:
        image, _, snapshot = super().parse(text).partition("@")
        if not image or "/" in text or "@" in snapshot or text.endswith("@"):
            raise ValueError(text)
        return text


OPTIONS = (
    Option("rbd_pool", Kind(), "rbd", "the Ceph pool that holds the volumes' images", fixed=True),
    Option("namespace", Kind(), "", "the namespace in the Ceph pool"),
    Option("data_pool", Kind(), "", "another Ceph pool for the data, one with erasure coding for example"),
    Option("cephx_id", Kind(), "ganeti", "the Ceph user, without client. in front", fixed=True),
    Option("conf", AbsolutePath(), "/etc/ceph/ceph.conf", "Ceph's configuration file, with the monitors"),
    Option("keyring", SecretFile(), "/etc/ceph/ceph.client.ganeti.keyring", "the keyring of that user"),
    Option("uuid", Kind(), "", "the identity that the pool must have (gnt-storage pool init prints it)"),
    Option(
        "connector",
        Choice("rbd", "rbd_nbd"),
        "rbd",
        "how a node reaches an image: rbd is the kernel's own client, rbd_nbd a process with Ceph's library",
    ),
    Option(
        "userspace_only",
        YesNo(),
        "no",
        "no device on the node: only hypervisors that open the image themselves (access=userspace) reach it",
        owner=True,
    ),
    Option(
        "ms_mode",
        Choice("legacy", "crc", "secure", "prefer-crc", "prefer-secure"),
        "prefer-crc",
        "how the kernel talks to Ceph; all but legacy need Linux 5.11, secure ones encrypt",
    ),
    Option("image_features", Features(), DEFAULT_FEATURES, "the features of a new image", owner=True),
    Option("stripe_unit", Whole(512, 1 << 30), "", "bytes of a stripe, with stripe_count", owner=True),
    Option("stripe_count", Whole(1, 1024), "", "objects to stripe over, with stripe_unit", owner=True),
    Option("origin", Image(), "", "what a new volume begins with: an image, or image@snapshot", owner=True),
    Option("origins", Words(), "", "the images that origin may name, as shell patterns; none by default"),
    Option(
        "reuse_data", Never(), "no", "taken for the sake of other providers; only no is possible", owner=True
    ),
    Option(
        "overcommit",
        YesNo(),
        "no",
        "whether a volume may be larger than the space that Ceph says is free; its writes may wait later",
    ),
    Option(
        "trash_days",
        Whole(0, 3650),
        "0",
        "days for which a removed volume stays in Ceph's trash, from where rbd trash restore brings it back",
    ),
    Option(
        "remove_origin",
        Choice("refuse", "flatten"),
        "refuse",
        "remove of a volume with clones: refuse, or give the clones data of their own (slow)",
    ),
)
