# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with Ceph and its images alone."""

from __future__ import annotations

from extstorage_common.errors import BadRequest, Busy, Exists, NotFound, Refused, Unreachable


class OriginForbidden(BadRequest):
    template = (
        "a volume may not be made from '{origin}' here; the administrator allows images with origins in the "
        "provider's configuration"
    )


class OriginTooLarge(BadRequest):
    template = "{origin} has {origin_size} MiB, more than the {size} MiB that the volume is to have"


class ForeignImage(NotFound):
    template = (
        "there is an image of that name in pool '{pool}', but this suite did not make it, so it is no volume "
        "and is left alone"
    )


class OriginMissing(NotFound):
    template = "there is no image or snapshot {origin} to make the volume from"


class ForeignImageExists(Exists):
    template = (
        "an image {image} that this suite did not make is in the way, and was left alone; rename or remove it"
    )


class ImageInUse(Busy):
    template = (
        "the image is in use by Ceph clients that are no attachment of ours ({clients}); unmap it there "
        "(rbd status {image} lists them)"
    )


class ImageBusy(Busy):
    template = (
        "Ceph does not let go of the image: it is being migrated, or a client has just taken its lock; "
        "see rbd status {image}, then try again"
    )


class ImageLocked(Busy):
    template = (
        "{client} locked the image by hand; release that lock if nobody needs it any more: "
        "rbd lock remove {image} {lock} {client}"
    )


class CephPoolMissing(Unreachable):
    template = (
        "there is no Ceph pool '{rbd_pool}' in cluster {cluster}, so nothing is known of the volumes of pool "
        "'{pool}'; make it (ceph osd pool create {rbd_pool}), or correct rbd_pool"
    )


class NamespaceMissing(Unreachable):
    template = (
        "the Ceph pool '{rbd_pool}' has no namespace '{namespace}', so nothing is known of the volumes of "
        "pool '{pool}'; make it with: gnt-storage pool init {provider} {pool}"
    )


class ClusterWrong(Unreachable):
    template = "{conf} leads to another Ceph pool: its identity is {found}, the configuration says {expected}"


class CephRefused(Refused):
    template = (
        "Ceph does not let {user} do it ({what}); compare {keyring} and the user's capabilities with the "
        "guide's: ceph auth get {user}"
    )


class FenceImpossible(Refused):
    template = (
        "another node's hypervisor can't be cut off: it has the address of this one ({host}), and is one of "
        "{clients}; give nodes addresses of their own towards Ceph, or end it by hand"
    )


class HasClones(Refused):
    template = (
        "there are clones of the volume, or snapshots: {clones}; remove them first (remove_origin = flatten "
        "gives clones data of their own instead)"
    )


class FeaturesUnfit(Refused):
    template = (
        "this node's kernel can't map the image: it has {features}; take them away with: "
        "rbd feature disable {image} {features}"
    )
