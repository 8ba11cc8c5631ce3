# SPDX-License-Identifier: Apache-2.0
"""What needs no cluster: names, the quality of service, the sample configuration."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extstorage_common import config
from extstorage_common.backends.solidfire_state import MOST_BYTES, TooLong, checked
from extstorage_common.backends.solidfire_volumes import BadService, cluster_name, service
from tests.appliances.solidfire.volumes import QOS_BOUNDS
from tests.conftest import CHECKOUT
from tests.solidfire.conftest import TABLE

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@given(NAMES)
def test_every_name_has_one_that_a_cluster_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{1,64}", cluster_name(name))
    assert "--" not in cluster_name(name)
    assert cluster_name(name) == cluster_name(name)


def test_names_of_ganetis_disks_can_be_read() -> None:
    name = "0b1c9c4e-0000-4000-8000-000000000001.ext.disk0"
    assert cluster_name(name + ".snap") == "0b1c9c4e-0000-4000-8000-000000000001-ext-disk0-snap"


@given(
    st.none() | st.integers(50, 15000),
    st.none() | st.integers(100, 200000),
    st.none() | st.integers(100, 200000),
)
def test_a_service_is_one_that_a_cluster_takes(
    least: int | None, most: int | None, burst: int | None
) -> None:
    said = {"min_iops": least, "max_iops": most, "burst_iops": burst}
    numbers = [number for number in said.values() if number is not None]
    if numbers != sorted(numbers):
        with pytest.raises(BadService):
            service(said)
        return
    told = service(said)
    assert (told is None) == (not numbers)
    if told is not None:
        assert told["minIOPS"] <= told["maxIOPS"] <= told["burstIOPS"]
        assert all(low <= told[name] <= high for name, (low, high) in QOS_BOUNDS.items())
        given = dict(zip(("minIOPS", "maxIOPS", "burstIOPS"), said.values(), strict=True))
        assert all(told[name] == number for name, number in given.items() if number is not None)


def test_attributes_have_less_than_1000_bytes() -> None:
    empty = len('{"a": ""}')
    checked({"a": "x" * (MOST_BYTES - empty)}, "it")
    with pytest.raises(TooLong, match="it takes 1000 bytes"):
        checked({"a": "x" * (MOST_BYTES + 1 - empty)}, "it")


def test_the_sample_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CHECKOUT / "docs/examples/solidfire.conf", tmp_path)
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(tmp_path))
    configuration = config.load("solidfire")
    configuration.check_names(TABLE)
    pools = {name: configuration.pool(name, TABLE, {}) for name in configuration.pool_names()}
    assert [pool["account"] for pool in pools.values()] == ["ganeti-gold", "ganeti-silver"]
    assert all(service(pool.options) for pool in pools.values())
