# SPDX-License-Identifier: Apache-2.0
"""The mistakes of the driver that OpenStack once had for such machines (reference, sections 0.1 and 0.2).

``0.2 (6)``, everybody sees everything, and ``0.2 (7)``, the management address as a portal, are in
``test_exports.py``; words that are not quoted and host keys that nobody checks (0.1) in ``test_dialect.py``.
"""

from __future__ import annotations

import time

import pytest

from extstorage_common.errors import Refused
from tests.comstar.conftest import MIB, Site, attach, detach


def commands(site: Site) -> list[str]:
    return [words[1] for words in map(str.split, site.seen()) if len(words) > 1]


def test_missing_status_is_not_taken_for_success(site: Site) -> None:
    """0.1: paramiko's -1 counted as success, whatever standard error said."""
    backend = site.backend()
    site.machine.fault("no-status", "zfs create")
    site.trouble("^zfs create", "cannot create 'tank/ganeti/v1': I/O error")
    with pytest.raises(Refused, match="I/O error"):
        backend.create_volume("v1", 16)


def test_long_errors_before_the_output_are_no_deadlock(site: Site) -> None:
    """0.1: it read one stream to its end, then the other."""
    site.machine.fault("flood", "zfs list", value=1 << 20)
    site.backend().create_volume("v1", 16)
    began = time.monotonic()
    site.backend().get_volume("v1")
    assert time.monotonic() - began < 150  # which the deadline would have ended


def test_size_is_what_was_asked_for(site: Site) -> None:
    """0.2: sizes in whole G, and 100M for 0."""
    assert site.backend().create_volume("v1", 17).size == 17 * MIB
    assert site.run("zfs get -H -p -o value volsize tank/ganeti/v1/disk") == f"{17 * MIB}\n"


def test_group_that_exists_is_not_made_and_one_that_does_not_is(site: Site) -> None:
    """0.2 (1, 2): what asked for a group looked for other text, and its answer was turned round."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    made = commands(site)
    assert made.index("create-tg") < made.index("add-tg-member") < made.index("create-target")
    detach(backend)
    site.seen()
    attach(backend)
    assert not {"create-tg", "create-hg", "create-target", "create-lu"} & set(commands(site))
    site.run(f"itadm delete-target -f {site.run('stmfadm list-target').split()[1]}")
    attach(backend)
    assert {"create-tg", "create-target"} <= set(commands(site))


def test_no_views_is_an_answer(site: Site) -> None:
    """0.2 (3): on standard error, with status 1, which it took for a failure."""
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    assert backend.attached_nodes(volume) == []
    detach(backend)


def test_missing_unit_is_an_answer(site: Site) -> None:
    """0.2 (4, 5): not found was an error, and no units at all another one."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    assert site.run("stmfadm list-lu") == ""
    backend.delete_volume(backend.get_volume("v1"))
    backend.create_volume("v1", 16)
    attach(backend)
    site.run("stmfadm delete-lu " + site.run("stmfadm list-lu").split()[2])
    backend.delete_volume(backend.get_volume("v1"))


def test_names_are_compared_whole(site: Site) -> None:
    """A volume whose name another's begins with is that other's neighbour, not the other."""
    backend = site.backend()
    for name in ("v1", "v10", "v1.snap"):
        backend.create_volume(name, 16)
        attach(backend, name)
    backend.delete_volume(backend.get_volume("v1"))
    assert backend.list_volumes() == ["v1.snap", "v10"]
    assert site.run("itadm list-target").count("online") == 2
