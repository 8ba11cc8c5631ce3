# SPDX-License-Identifier: Apache-2.0
"""What a storage may name a target and a portal: it becomes a file's name, and a line of that file."""

from __future__ import annotations

import pytest

from extstorage_common.connectors.iscsi_records import BadConnection, Portal

TARGET = "iqn.2026-01.com.example:pool:v1"
PORTAL = "192.0.2.1:3260"


@pytest.mark.parametrize(
    ("portal", "record"),
    [(PORTAL, "192.0.2.1,3260"), ("[2001:db8::1]:3260", "2001:db8::1,3260"), ("box-1:860", "box-1,860")],
)
def test_a_portal_has_a_record_of_its_own(portal: str, record: str) -> None:
    named = Portal(TARGET, portal)
    assert str(named) == portal
    assert named.record == f"/etc/iscsi/nodes/{TARGET}/{record}"


@pytest.mark.parametrize(
    "target",
    ["", "..", "v1", "../iqn.v1", "iqn.2026/v1", "iqn.v1\nnode.startup", "iqn.V1", "iqn." + "a" * 220],
)
def test_a_target_whose_name_is_none_is_refused(target: str) -> None:
    with pytest.raises(BadConnection):
        Portal(target, PORTAL)


@pytest.mark.parametrize("portal", ["", "192.0.2.1", "192.0.2.1:", "192.0.2.1:iscsi", "/etc:3260", ":3260"])
def test_a_portal_that_is_none_is_refused(portal: str) -> None:
    with pytest.raises(BadConnection):
        Portal(TARGET, portal)
