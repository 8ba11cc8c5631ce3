# SPDX-License-Identifier: Apache-2.0
"""The modelled cluster: everything that it has, and the one door to it, :meth:`Cluster.call`.

The objects are kept as the JSON that the API shows. The methods of the API are in the modules beside, by
what they are about; each is a function of the cluster and the call's parameters.
"""

from __future__ import annotations

import copy
import datetime
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.appliances.solidfire.disks import Disks, NoDisks
from tests.appliances.solidfire.errors import ElementError, missing, no_account, no_group, no_volume
from tests.appliances.solidfire.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Object = dict[str, Any]
    Method = Callable[["Cluster", "Parameters"], Object]

METHODS: dict[str, Method] = {}
MUTE = ("Get", "List")
"""Methods whose names begin so change nothing."""


def method(function: Method) -> Method:
    """Offer a function as the API's method of the same name, ``create_volume`` as CreateVolume.

    ``qos``, ``id``, ``iscsi`` and ``api`` are written large there.
    """
    large = {"qos": "QoS", "id": "ID", "iscsi": "ISCSI", "api": "API"}
    words = function.__name__.split("_")
    METHODS["".join(large.get(word, word.capitalize()) for word in words)] = function
    return function


class Parameters:
    """A call's parameters, and which of them were looked at: the others are *unused*, no error."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        self.used: set[str] = set()

    def get(self, member: str, kind: type, default: Any = None) -> Any:
        """A parameter of this type, or the default. Raises xInvalidParameterType."""
        self.used.add(member)
        value = self.given.get(member)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            expected = {int: "integer", str: "string", bool: "boolean", list: "array", dict: "object"}[kind]
            raise ElementError("xInvalidParameterType", f"member=[{member}] must be of type {expected}")
        return value

    def need(self, member: str, kind: type) -> Any:
        """A parameter that must be there. Raises xMissingParameter, xInvalidParameterType."""
        if self.given.get(member) is None:
            raise missing(member)
        return self.get(member, kind)

    def attributes(self) -> Object | None:
        """The attributes, if they are given; under 1000 bytes (section 3.2)."""
        import json

        told: Object | None = self.get("attributes", dict)
        if told is not None and len(json.dumps(told)) >= 1000:
            raise ElementError("xInvalidParameter", "attributes must be less than 1000 bytes")
        return told

    def unused(self) -> list[str]:
        """The parameters that meant nothing to the method."""
        return [member for member in self.given if member not in self.used]


class Cluster:
    """Accounts, volumes, snapshots, access groups, initiators and sessions, by number."""

    def __init__(
        self,
        settings: Settings | None = None,
        disks: Disks | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or Settings()
        self.disks = disks or NoDisks()
        self.clock = clock
        self.lock = threading.RLock()
        self.accounts: dict[int, Object] = {}
        self.volumes: dict[int, Object] = {}
        self.snapshots: dict[int, Object] = {}
        self.groups: dict[int, Object] = {}
        self.initiators: dict[int, Object] = {}
        self.asyncs: dict[int, Object] = {}
        self.sessions: dict[int, Object] = {}
        self.numbers: dict[str, int] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called after each call that may have changed something."""
        self.look_at_sessions: Callable[[], None] = lambda: None
        """Called before sessions are asked for: the place to bring ``sessions`` up to date."""

    # --- the door ---------------------------------------------------------------------------------

    def call(self, name: str, given: object = None) -> Object:
        """A method of the API: the response, without its id."""
        with self.lock:
            try:
                if name not in METHODS:
                    raise ElementError("xUnknownAPIMethod", f"{name} is not a method of this API")
                if given is not None and not isinstance(given, dict):
                    raise ElementError("xInvalidParameter", "params must be an object with named members")
                parameters = Parameters(given or {})
                self.pass_time()
                result = copy.deepcopy(METHODS[name](self, parameters))
            except ElementError as error:
                return {"error": error.answer()}
            if not name.startswith(MUTE):
                self.changed()
            response: Object = {"result": result}
            if parameters.unused():
                response["unusedParameters"] = parameters.unused()
            return response

    def result(self, name: str, /, **parameters: Any) -> Object:
        """The result of a method, for tests and for faults. Raises ElementError."""
        response = self.call(name, parameters)
        if "error" in response:
            raise ElementError(response["error"]["name"], response["error"]["message"])
        result: Object = response["result"]
        return result

    # --- time -------------------------------------------------------------------------------------

    def now(self) -> str:
        """The time as the API writes it."""
        return iso(self.clock())

    def pass_time(self) -> None:
        """Do what the cluster does by itself: finish copies, purge what was deleted long ago."""
        from tests.appliances.solidfire import volumes

        for handle, job in list(self.asyncs.items()):
            if job["status"] == "running" and self.clock() >= job["due"]:
                volumes.finish(self, handle)
        for number, volume in list(self.volumes.items()):
            if volume["status"] == "deleted" and self.now() >= volume["purgeTime"]:
                volumes.purge(self, number)

    # --- what there is ----------------------------------------------------------------------------

    def number(self, kind: str) -> int:
        """The next number of a kind of object; none is ever given twice."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def limit(self, name: str) -> int:
        """One of the cluster's limits."""
        return self.settings.limits[name]

    def account(self, number: object) -> Object:
        """An account that is not removed. Raises xAccountIDDoesNotExist."""
        account = self.accounts.get(number) if isinstance(number, int) else None
        if account is None or account["status"] == "removed":
            raise no_account(number)
        return account

    def volume(self, number: object, error: str = "xVolumeIDDoesNotExist") -> Object:
        """A volume that is not deleted. Raises xVolumeIDDoesNotExist."""
        volume = self.volumes.get(number) if isinstance(number, int) else None
        if volume is None or volume["status"] == "deleted":
            raise no_volume(number, error)
        return volume

    def group(self, number: object) -> Object:
        """An access group. Raises xVolumeAccessGroupIDDoesNotExist."""
        group = self.groups.get(number) if isinstance(number, int) else None
        if group is None:
            raise no_group(number)
        return group

    def initiator(self, number: object) -> Object:
        """An initiator. Raises xInitiatorDoesNotExist."""
        initiator = self.initiators.get(number) if isinstance(number, int) else None
        if initiator is None:
            raise ElementError("xInitiatorDoesNotExist", f"InitiatorID {number} does not exist.")
        return initiator

    def provisioned(self) -> int:
        """The bytes that are promised to volumes; a deleted one keeps its own until it is purged."""
        return sum(volume["totalSize"] for volume in self.volumes.values())


def iso(moment: float) -> str:
    """A time as the API writes it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
