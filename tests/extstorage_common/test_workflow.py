# SPDX-License-Identifier: Apache-2.0
"""Attachments whose device is not what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from extstorage_common import attachments, connectors
from extstorage_common.attachments import ATTACHING, Attachment
from extstorage_common.backends.base import Backend, Volume
from extstorage_common.connectors.userspace import UserspaceConnector
from extstorage_common.deadline import Deadline
from extstorage_common.errors import WrongDevice
from extstorage_common.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

KEPT = {"disk": "17"}


class Fleeting(UserspaceConnector):
    """Its device is gone as soon as it was connected, but not what else was made for it."""

    NAME = "fleeting"
    cleaned: list[Mapping[str, str]]

    def kept(self, data: Mapping[str, Any]) -> dict[str, str]:
        return dict(data)

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        return "/dev/loop99"

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return False

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        self.cleaned.append(kept)


class Storage:
    """As much of a backend as is asked here."""

    def initialize_connection(self, volume: Volume, properties: Mapping[str, str]) -> dict[str, Any]:
        return {"data": KEPT}

    def terminate_connection(self, volume: Volume, properties: Mapping[str, str]) -> None:
        """It exports nothing."""


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.setenv("EXTSTORAGE_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(connectors, "load", lambda name: Fleeting)
    monkeypatch.setattr(Fleeting, "cleaned", [], raising=False)
    workflow = object.__new__(Workflow)
    workflow.deadline = Deadline(60)
    return workflow


def attaching(device: str = "") -> Attachment:
    return Attachment("v1", "file", "pool", ATTACHING, "fleeting", device, kept=dict(KEPT))


def test_device_that_nothing_tells_from_another_is_not_attached(workflow: Workflow) -> None:
    """A warm attach could not say later whether it is still the same."""
    storage, volume = cast("Backend", Storage()), Volume("v1", 16)
    connector, attachment = Fleeting(workflow.deadline), attaching()
    with pytest.raises(WrongDevice, match="/dev/loop99 is not this volume: it went away"):
        workflow._connect_device(storage, volume, connector, attachment)
    workflow._undo_connect(storage, volume, attachment)
    assert Fleeting.cleaned == [KEPT]
    assert attachments.load("v1") is None


def test_device_of_somebody_else_that_a_killed_call_remembered(workflow: Workflow) -> None:
    """It is left alone, but what the call made besides is not."""
    workflow._disconnect_device(attaching("/dev/loop99"), Fleeting(workflow.deadline))
    assert Fleeting.cleaned == [KEPT]
