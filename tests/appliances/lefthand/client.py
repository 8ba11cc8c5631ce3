# SPDX-License-Identifier: Apache-2.0
"""An array as a test wants it, and its answers taken apart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

from tests.appliances.lefthand.array import LeftHand
from tests.appliances.lefthand.facts import Facts


class Told:
    """An answer in XML: its result and what it tells of."""

    def __init__(self, stdout: str, status: int) -> None:
        self.status = status
        response = ElementTree.fromstring(stdout.encode()).find("response")
        assert response is not None
        self.response = response
        self.result = response.get("result")
        self.name = response.get("name")
        self.description = response.get("description", "")

    def one(self, kind: str) -> ElementTree.Element:
        """The only thing of a kind that it tells of."""
        (found,) = self.response.findall(kind)
        return found

    def all(self, kind: str) -> list[dict[str, str]]:
        """The attributes of all things of a kind, at any depth."""
        return [element.attrib for element in self.response.iter(kind)]


class Client:
    """Somebody who runs commands on an array."""

    def __init__(self, array: LeftHand) -> None:
        self.array = array

    def run(self, line: str) -> Told:
        """Run a command with its answer in XML."""
        answer = self.array.execute("admin", f"{line} output=XML")
        assert answer.stderr == ""
        assert answer.status is not None
        return Told(answer.stdout, answer.status)

    def ok(self, line: str) -> Told:
        """Run a command that must do something."""
        told = self.run(line)
        assert (told.result, told.name, told.status) == ("0", "CliqSuccess", 0), told.description
        return told

    def refused(self, line: str) -> str:
        """Run a command that the array has no own code for refusing; returns its words."""
        told = self.run(line)
        assert (told.result, told.name, told.status) == ("80001001", "CliqUnexpected", 128)
        return told.description

    def volume(self, name: str = "v1", rest: str = "size=64MB") -> None:
        """Make a volume."""
        self.ok(f"createVolume volumeName={name} clusterName=c1 {rest}")

    def info(self, name: str = "v1") -> dict[str, str]:
        """What is told of a volume."""
        return self.ok(f"getVolumeInfo volumeName={name}").one("volume").attrib


def client(directory: Path, **facts: object) -> Client:
    """An array of which these facts are so."""
    array = LeftHand(directory)
    array.install(replace(Facts(), **facts))  # type: ignore[arg-type]
    return Client(array)
