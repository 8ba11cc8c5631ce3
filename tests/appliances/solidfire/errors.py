# SPDX-License-Identifier: Apache-2.0
"""The errors of the Element API (section 3.4): one code for all, told apart by their names."""

from __future__ import annotations


class ElementError(Exception):
    """An error in the cluster's answer."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message

    def answer(self) -> dict[str, object]:
        """The ``error`` of a response."""
        return {"code": 500, "name": self.name, "message": self.message}


def missing(member: str) -> ElementError:
    """A parameter that must be there is not."""
    return ElementError("xMissingParameter", f"Missing member=[{member}]")


def no_account(account: object) -> ElementError:
    """An account's number that there is not."""
    return ElementError("xAccountIDDoesNotExist", f"Illegal AccountID {account}")


def no_volume(volume: object, name: str = "xVolumeIDDoesNotExist") -> ElementError:
    """A volume's number that there is not."""
    return ElementError(name, f"VolumeID {volume} does not exist.")


def no_group(group: object) -> ElementError:
    """An access group's number that there is not."""
    name = "xVolumeAccessGroupIDDoesNotExist"
    return ElementError(name, f"VolumeAccessGroupID {group} does not exist.")


def exceeded(what: str) -> ElementError:
    """Too much of something; only the message says of what."""
    return ElementError("xExceededLimit", f"Exceeded maximum number of {what}")
