# SPDX-License-Identifier: Apache-2.0
"""Logins to several portals at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from extstorage_common.connectors import iscsi_records
from extstorage_common.connectors.iscsi_records import Portal
from extstorage_common.connectors.iscsi_sessions import LoginRefused
from extstorage_common.connectors.os_brick import OsBrickConnector
from extstorage_common.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IQN = "iqn.2003-01.org.example:v1"
WAYS = [(Portal(IQN, f"192.0.2.{number}:3260"), 1) for number in range(1, 9)]


class Connector(OsBrickConnector):
    """Its logins write their records, and end all at once, as ``endings`` say: a failure, or none."""

    endings: Mapping[Portal, Exception]

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(Deadline(60))
        monkeypatch.setattr(iscsi_records, "NODES", str(directory))
        self.together = threading.Barrier(len(WAYS))

    def _session(self, portal: Portal, lun: int, data: Mapping[str, object]) -> object:  # type: ignore[override]
        iscsi_records.write(portal, data)
        self.together.wait(60)
        if portal in self.endings:
            raise self.endings[portal]
        return None


def test_portals_that_refuse_leave_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(100):
        connector = Connector(tmp_path, monkeypatch)
        connector.endings = {portal: LoginRefused(portal=portal, target=IQN) for portal, _ in WAYS}
        with pytest.raises(LoginRefused, match=WAYS[0][0].address):
            connector._begin_sessions(WAYS, {})
        assert list(tmp_path.iterdir()) == []


def test_portals_that_let_us_in_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = Connector(tmp_path, monkeypatch)
    connector.endings = {portal: LoginRefused(portal=portal, target=IQN) for portal, _ in WAYS[2:]}
    assert connector._begin_sessions(WAYS, {}) == WAYS[:2]
    assert sorted(path.name for path in (tmp_path / IQN).iterdir()) == ["192.0.2.1,3260", "192.0.2.2,3260"]


def test_unforeseen_failure_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = Connector(tmp_path, monkeypatch)
    connector.endings = {WAYS[3][0]: ZeroDivisionError()}
    with pytest.raises(ZeroDivisionError):
        connector._begin_sessions(WAYS, {})
