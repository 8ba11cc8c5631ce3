# SPDX-License-Identifier: Apache-2.0
"""Where volumes are, what is not there, and what can't be known."""

from __future__ import annotations

import pytest

from tests.conftest import Node, Site

CALLS: dict[str, dict[str, str]] = {
    "create": {"VOL_SIZE": "16"},
    "attach": {},
    "detach": {},
    "remove": {},
    "grow": {"VOL_SIZE": "16", "VOL_NEW_SIZE": "24"},
    "setinfo": {"VOL_METADATA": "text"},
    "snapshot": {"VOL_SNAPSHOT_NAME": "v1.snap", "VOL_SNAPSHOT_SIZE": "16"},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "close": {},
}


@pytest.fixture
def two_pools(site: Site) -> Site:
    """Pools ``gold`` and ``silver``."""
    site.configure(
        f"[gold]\ndirectory = {site.directory}/gold\n[silver]\ndirectory = {site.directory}/silver\n"
    )
    site.init("gold")
    site.init("silver")
    return site


@pytest.mark.parametrize("action", CALLS)
def test_unmounted_share_is_unreachable(site: Site, n1: Node, action: str) -> None:
    n1.create()
    site.pool.rename(site.directory / "away")
    site.pool.mkdir()
    sentence = n1.fails(8, action, **CALLS[action])
    assert "marker file" in sentence
    assert "gnt-storage pool init file default" in sentence
    assert list(site.pool.iterdir()) == []
    assert site.loop_devices() == []


@pytest.mark.parametrize("action", CALLS)
def test_pool_with_another_uuid_is_not_ours(site: Site, n1: Node, action: str) -> None:
    site.configure(f"[default]\ndirectory = {site.pool}\nuuid = 00000000-0000-0000-0000-000000000000\n")
    assert "another pool" in n1.fails(8, action, **CALLS[action])
    assert site.volumes() == []


def test_right_uuid(site: Site, n1: Node) -> None:
    uuid = site.init("default").split()[-1]
    site.configure(f"[default]\ndirectory = {site.pool}\nuuid = {uuid}\n")
    n1.create()


@pytest.mark.parametrize("action", [action for action in CALLS if action not in ("create", "snapshot")])
def test_absent_volume(site: Site, n1: Node, action: str) -> None:
    if action in ("detach", "remove", "close"):
        n1.ok(action)
    else:
        assert "no such volume" in n1.fails(4, action, **CALLS[action])
    assert n1.left() == []


def test_storage_away_at_detach(site: Site, n1: Node, n2: Node) -> None:
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    site.pool.rename(site.directory / "away")
    site.pool.mkdir()
    assert "detach again" in n1.fails(8, "detach")
    assert "state detaching" in n1.record()
    assert site.loop_devices() == []
    site.pool.rmdir()
    (site.directory / "away").rename(site.pool)
    n1.ok("detach")
    assert n1.record() == ""
    n2.attach()
    assert n2.open().status == 0


def test_attach_after_the_storage_was_away_at_detach(site: Site, n1: Node) -> None:
    n1.create()
    n1.attach()
    site.pool.rename(site.directory / "away")
    n1.fails(8, "detach")
    (site.directory / "away").rename(site.pool)
    n1.attach()
    assert len(site.loop_devices()) == 1


def test_volume_is_found_whatever_the_parameters_say(two_pools: Site, n1: Node, n2: Node) -> None:
    n1.create(EXTP_POOL="gold")
    device = n1.attach(EXTP_POOL="silver")
    assert n1.attach(EXTP_POOL="nonsense") == device
    n2.attach()
    n1.ok("detach", EXTP_POOL="silver")
    n2.ok("detach", EXTP_POOL="silver")
    n1.ok("remove", EXTP_POOL="silver")
    assert not (two_pools.directory / "gold/v1").exists()


def test_volume_that_is_in_no_pool(two_pools: Site, n1: Node) -> None:
    sentence = n1.fails(4, "attach", EXTP_POOL="silver")
    assert sentence == "file: attach of volume v1 failed: no such volume (looked in pools silver, gold)\n"


def test_new_volume_needs_a_pool(two_pools: Site, n1: Node) -> None:
    assert "gold, silver" in n1.fails(2, "create", VOL_SIZE="16")
    assert "did you mean 'gold'" in n1.fails(4, "create", VOL_SIZE="16", EXTP_POOL="golt")


def test_volume_that_exists_in_another_pool(two_pools: Site, n1: Node) -> None:
    n1.create(EXTP_POOL="gold")
    assert "pool 'gold'" in n1.fails(5, "create", VOL_SIZE="16", EXTP_POOL="silver")


def test_volume_found_twice(two_pools: Site, n1: Node) -> None:
    for pool in ("gold", "silver"):
        (two_pools.directory / pool / "v1").mkdir()
        (two_pools.directory / pool / "v1/disk").write_bytes(bytes(1 << 20))
    assert "gold, silver" in n1.fails(5, "attach")
    assert "remove of volume v1 failed: the volume is in several pools " in n1.fails(5, "remove")
    assert (two_pools.directory / "gold/v1/disk").exists()
    n1.attach(EXTP_POOL="gold")


def test_one_storage_with_two_names(site: Site, n1: Node) -> None:
    """Nobody may be told to remove one of two volumes where there is but one."""
    site.configure("".join(f"[{pool}]\ndirectory = {site.pool}\n" for pool in ("gold", "silver")))
    n1.create(EXTP_POOL="gold")
    for action in ("attach", "remove"):
        sentence = n1.fails(3, action)
        assert "pools gold, silver have one UUID: they are one storage, or one is a copy" in sentence
        assert sentence.endswith(f"keep only one of them in {site.config}/file.conf\n")
    n1.attach(EXTP_POOL="silver")
    n1.ok("detach")


def test_pool_that_does_not_answer_makes_a_volume_unknown(two_pools: Site, n1: Node) -> None:
    n1.create(EXTP_POOL="gold")
    (two_pools.directory / "gold").rename(two_pools.directory / "away")
    for action in ("attach", "remove", "detach", "close"):
        for pool in ("silver", "gold"):
            sentence = n1.fails(8, action, EXTP_POOL=pool)
            assert f"{action} of volume v1 in pool gold failed: " in sentence
    # The other pool goes on working.
    n1.create("v2", EXTP_POOL="silver")
    n1.attach("v2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("directory = /srv\n", ".conf: line 1 comes before the first section, such as [default]\n"),
        ("[p]\ndirectory = /a\ndirectory = /b\n", ".conf: line 3 says directory in [p] a second time\n"),
        ("[p]\ndirectory = /a\n[p]\n", ".conf: line 3 begins another section [p]\n"),
        ("[p]\ndirectory /srv\n[q\n", ".conf: line 2 is neither [POOL] nor OPTION = VALUE\n"),
        ("[p]\ndirectory = /srv\n  allocation = full\n", "an absolute path"),
        ("[p]\ndirektory = /srv\n", "unknown option 'direktory'; did you mean 'directory'"),
        (b"[p]\ndirectory = /\xff\n", ".conf: it is not UTF-8\n"),
        ("[DEFAULT]\ntimeout = 5\n", "no pool is configured"),
        ("[a b]\ndirectory = /srv\n", "can't name a pool"),
        ("[p]\n", "must say directory"),
        ("[p]\ndirectory = srv\n", "an absolute path"),
        ("[p]\ndirectory = /srv\ntimeout = 0\n", "a number of seconds"),
        ("[p]\ndirectory = /srv\ntakeover = never\n", "offline or always"),
        ("[p]\ndirectory = /srv\nallocatoin = full\n", "did you mean 'allocation'"),
        ("[p]\ndirectory = /srv\nbackend = nosuch\n", "no backend"),
    ],
)
def test_configuration_errors(site: Site, n1: Node, text: str | bytes, words: str) -> None:
    (site.config / "file.conf").write_bytes(text.encode() if isinstance(text, str) else text)
    sentence = n1.fails(3, "create", VOL_SIZE="16")
    assert words in sentence


def test_slip_in_the_configuration_does_not_lose_a_volume(site: Site, n1: Node) -> None:
    n1.create()
    site.configure(f"[default]\ndirectory = {site.pool}\nallocatoin = full\n")
    n1.attach()
    n1.fails(3, "create", "v2", VOL_SIZE="16")


def test_parameters(site: Site, n1: Node) -> None:
    sentence = n1.fails(2, "create", VOL_SIZE="16", EXTP_ALLOCATOIN="full")
    assert "did you mean 'allocation'" in sentence
    assert "sparse or full" in n1.fails(2, "create", VOL_SIZE="16", EXTP_ALLOCATION="thick")
    # The administrator's options are nobody else's.
    assert "no parameter 'directory'" in n1.fails(2, "create", VOL_SIZE="16", EXTP_DIRECTORY="/etc")
    assert site.volumes() == []
    site.configure(f"[default]\ndirectory = {site.pool}\nowner_options = none\n")
    assert "owner_options" in n1.fails(2, "create", VOL_SIZE="16", EXTP_ALLOCATION="full")
    n1.create()
    n1.attach(EXTP_ALLOCATION="thick", EXTP_NONSENSE="1")


def test_pool_init(site: Site) -> None:
    first = site.init("default")
    assert site.init("default") == first
    stranger = site.directory / "stranger"
    stranger.mkdir()
    (stranger / "letter").write_text("dear")
    site.configure(f"[default]\ndirectory = {stranger}\n")
    with pytest.raises(Exception, match="exit status 9"):
        site.init("default")
    assert [path.name for path in stranger.iterdir()] == ["letter"]
