# SPDX-License-Identifier: Apache-2.0
"""Volumes of a SolidFire cluster by Ganeti's names: it can't take some of them, and takes all of them twice.

What a volume was made with is in its attributes: the full name, since the cluster's own may only have
letters, digits and dashes; the account; who made it; a *token* of the call that did. Since the cluster
takes a name twice, a call whose answer got lost may leave two volumes with the same token: the one with
the lower number counts. Where the tokens differ, only a person can choose between the two.
"""

from __future__ import annotations

import hashlib
import secrets
import time

from extstorage_common import paths
from extstorage_common.backends.solidfire_state import MARK, NO_VOLUME, checked
from extstorage_common.errors import BadRequest, Exists, NoSpace, Refused, VolumeExists, VolumeIncomplete
from extstorage_common.transports.element import ElementError, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extstorage_common.transports.element import Element, Object

CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
MOST_NAME = 64


class TooSmall(BadRequest):
    template = "{size} MiB were asked for, but the cluster makes no volume of less than {least} MiB"


class TooLarge(BadRequest):
    template = "{size} MiB were asked for, but the cluster makes no volume of more than {most} MiB"


class DuplicateVolumes(Exists):
    template = (
        "the cluster's volumes {numbers} all say that they are this one; nothing was touched: "
        "look which is the right one, and delete the others"
    )


class Unpurged(VolumeIncomplete):
    template = (
        "the volume in pool '{pool}' was deleted and waits to be purged until {until}; create it again, or "
        "remove it to be rid of it at once"
    )


class CopyFailed(Refused):
    template = "the cluster gave up copying the volume: {message} ({name})"


class BadService(BadRequest):
    template = "min_iops {least}, max_iops {most}, burst_iops {burst}: none may be more than the next one"


class Volumes:
    """The volumes of one account. ``account`` is its name."""

    def __init__(self, element: Element, account: str) -> None:
        self.element = element
        self.account = account

    def named(self, name: str) -> list[Object]:
        """All volumes that say they are ``name``, deleted ones too, by number.

        An old cluster may not know the question and list all that it has.
        """
        volumes = self.element.call("ListVolumes", volumeName=cluster_name(name))["volumes"]
        return [volume for volume in volumes if self.is_ours(volume) and mark(volume)["volume"] == name]

    def is_ours(self, volume: Object) -> bool:
        """Whether a volume is of this pool."""
        return mark(volume).get("account") == self.account

    def get(self, number: int) -> Object | None:
        """A volume by its number; None if there is none (any more)."""
        volumes = self.element.call("ListVolumes", volumeIDs=[number])["volumes"]
        return next((volume for volume in volumes if volume["volumeID"] == number), None)

    def make(self, name: str, method: str, told: Mapping[str, object], attributes: Object) -> Object:
        """Make a volume by CreateVolume or CloneVolume, once. Raises VolumeExists, NoSpace, Refused.

        Returns it with the ``asyncHandle`` of a copy, if the cluster told that.
        """
        token = secrets.token_hex(8)
        marked = checked({MARK: {**attributes, "token": token, "state": 0}}, "what the volume was made with")
        told = {**told, "name": cluster_name(name), "attributes": marked}

        def made_already() -> Object | None:
            return next((one for one in self.named(name) if mark(one)["token"] == token), None)

        made = once(lambda: _made(self.element.call(method, **told)), made_already)
        first = min(_there(self.named(name)), key=_number, default=made)
        if mark(first)["token"] != token:
            self._withdraw(name, token)
            raise VolumeExists(size=first["totalSize"] >> 20, where=self.element.pool)
        return {"asyncHandle": made.get("asyncHandle", 0), **first}

    def _withdraw(self, name: str, token: str) -> None:
        """Another call was quicker to make this volume."""
        for volume in self.named(name):
            if mark(volume)["token"] == token:
                self.delete(volume["volumeID"])
                self.purge(volume["volumeID"])

    def attributes(self, name: str, node: str, origin: str = "") -> Object:
        """What lives with a volume from its beginning."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = {"volume": name, "account": self.account, "cluster": paths.cluster_name()}
        told |= {"node": node, "made": when}
        return {**told, "origin": origin} if origin else told

    def change(self, number: int, **changes: object) -> Object:
        """Change a volume; what it is like then."""
        volume: Object = self.element.call("ModifyVolume", volumeID=number, **changes)["volume"]
        return volume

    def delete(self, number: int) -> None:
        """Delete a volume, which may be deleted already; the cluster keeps its data for hours."""
        try:
            self.element.call("DeleteVolume", volumeID=number)
        except ElementError as error:
            if not error.has_name(*NO_VOLUME):
                raise

    def purge(self, number: int) -> None:
        """Delete the data of a deleted volume for good, which may be done already."""
        try:
            self.element.call("PurgeDeletedVolume", volumeID=number)
        except ElementError as error:
            if not error.has_name(*NO_VOLUME) or self.get(number) is not None:
                raise

    def wait_for_copy(self, volume: Object, crash: Callable[[], None]) -> Object:
        """The volume, once the cluster has copied all of it. Raises CopyFailed, TimedOut."""
        number, handle = volume["volumeID"], volume["asyncHandle"]
        for _ in self.element.looks():
            crash()
            failure = self._failure(handle)
            seen = self.get(number)
            if failure is not None or seen is None:
                failure = failure or {"message": "it is gone", "name": "no volume"}
                self.delete(number)
                self.purge(number)
                raise CopyFailed(message=failure.get("message", ""), name=failure.get("name", ""))
            if seen["status"] == "active":
                return seen
        self.element.deadline.check("the cluster copies the volume")
        raise AssertionError("the attempts end with the deadline")

    def _failure(self, handle: int) -> Object | None:
        """Why a copy failed, if it did; its result is told once, and then forgotten."""
        if not handle:
            return None
        try:
            told = self.element.call("GetAsyncResult", "xDBNoSuchPath", asyncHandle=handle)
        except ElementError as error:
            if error.has_name("xDBNoSuchPath"):
                return None
            raise
        failure: Object | None = told.get("error")
        return failure


def mark(volume: Object) -> Object:
    """What a volume was made with; nothing for one that is not ours."""
    told = volume["attributes"].get(MARK)
    ours = isinstance(told, dict) and {"volume", "account", "token", "state"} <= told.keys()
    return told if ours else {}


def choose(volumes: list[Object]) -> Object:
    """Of those that are not deleted, the one that counts. Raises DuplicateVolumes."""
    there = _there(volumes)
    if len({mark(volume)["token"] for volume in there}) > 1:
        raise DuplicateVolumes(numbers=", ".join(str(_number(volume)) for volume in there))
    return min(there, key=_number)


def _there(volumes: list[Object]) -> list[Object]:
    return [volume for volume in volumes if volume["status"] != "deleted"]


def _number(volume: Object) -> int:
    return int(volume["volumeID"])


def _made(result: Object) -> Object:
    """The volume that a call made, and the handle of a copy."""
    return {"asyncHandle": result.get("asyncHandle", 0), **result["volume"]}


def cluster_name(name: str) -> str:
    """What the cluster calls a volume: its name with dashes, or a digest where that does not do."""
    plain = name.replace(".", "-").replace("_", "-")
    if len(plain) <= MOST_NAME and "--" not in plain and not plain.endswith("-"):
        return plain
    return f"{MARK}-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def service(options: Mapping[str, int | None]) -> Object | None:
    """The quality of service from a pool's options; None where it says nothing. Raises BadService.

    What the pool leaves out of the three is the cluster's default, or as much as the other two need.
    """
    least, most, burst = options["min_iops"], options["max_iops"], options["burst_iops"]
    if least is None and most is None and burst is None:
        return None
    highest = 15000
    least = least or min(50, most or highest, burst or highest)
    most = most or max(least, min(highest, burst or highest))
    burst = burst or max(most, highest)
    if not least <= most <= burst:
        raise BadService(least=least, most=most, burst=burst)
    return {"minIOPS": least, "maxIOPS": most, "burstIOPS": burst}


def refusal(element: Element, size: int, more: int, error: ElementError) -> Exception:
    """Why the cluster refused a volume of ``size`` bytes, ``more`` than before: TooSmall, TooLarge, NoSpace.

    The cluster has one error for all its limits, so it is asked for these. If none was reached, the error is
    returned as it is.
    """
    if not error.has_name("xExceededLimit", "xInvalidAPIParameter", "xInvalidParameter"):
        return error
    limits = element.call("GetLimits")
    if size < limits["volumeSizeMin"]:
        return TooSmall(size=size >> 20, least=-(-limits["volumeSizeMin"] >> 20))
    if size > limits["volumeSizeMax"]:
        return TooLarge(size=size >> 20, most=limits["volumeSizeMax"] >> 20)
    capacity = element.call("GetClusterCapacity")["clusterCapacity"]
    free = int(capacity["maxProvisionedSpace"]) - int(capacity["provisionedSpace"])
    if more <= free:
        return error
    advice = "make room, or purge deleted volumes"
    return NoSpace(needed=-(-more >> 20), free=max(0, free) >> 20, advice=advice)
