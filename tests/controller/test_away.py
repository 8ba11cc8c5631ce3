# SPDX-License-Identifier: Apache-2.0
"""A controller that is down, restarted, or stands still: one sentence, in bounded time."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tests.controller.conftest import GONE, Consumer, Controller
from tests.machines import wait_until


def test_nobody_listens(c1: Consumer) -> None:
    c1.configure(port=GONE)
    assert "controller 127.0.0.1 does not answer: connect to host" in c1.fails(8, "create", VOL_SIZE="16")


def test_a_controller_that_was_restarted(c1: Consumer, controller: Controller) -> None:
    """The shared connection is broken; a new one takes its place."""
    c1.create()
    controller.stop()
    controller.start()
    c1.ok("setinfo", VOL_METADATA="x")


def test_a_shared_connection_that_died(c1: Consumer) -> None:
    c1.create()
    c1.kill_masters()
    assert list((c1.run_dir / "ssh").glob("*[!k]"))
    c1.ok("setinfo", VOL_METADATA="x")
    assert len(c1.masters()) == 1


def test_a_controller_that_stands_still(c1: Consumer, controller: Controller) -> None:
    c1.create()
    c1.configure("timeout = 5\n")
    controller.freeze()
    started = time.monotonic()
    sentence = c1.fails(10, "setinfo", VOL_METADATA="x")
    assert time.monotonic() - started < 30  # not the usual 50 s
    assert "no answer within 5 s" in sentence
    assert "controller 127.0.0.1" in sentence


def test_storage_away_at_detach(c1: Consumer, controller: Controller) -> None:
    c1.create()
    c1.attach()
    controller.stop()
    assert "disconnected from this node, but the storage can't be told" in c1.fails(8, "detach")
    assert controller.site.loop_devices() == []
    assert "state detaching" in c1.record()
    controller.start()
    c1.ok("detach")
    assert c1.left() == []


def test_an_answer_that_never_comes_is_finished_by_the_next_call(
    c1: Consumer, controller: Controller
) -> None:
    """The controller's executable dies in the middle; the volume is half-made, and made anew."""
    controller.stop()
    controller.start(EXTSTORAGE_CRASH_AT="file.made")
    assert "was gone before it answered" in c1.fails(8, "create", VOL_SIZE="16")
    controller.stop()
    controller.start()
    assert controller.site.volumes() == [".making-v1"]
    c1.create()
    assert controller.site.volumes() == ["v1"]


def test_nothing_of_the_shared_connection_is_ganetis(c1: Consumer) -> None:
    """It outlives the call, so it must have none of its descriptors."""
    c1.create()
    (pid,) = c1.masters()
    open_files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]
    assert open_files == ["/dev/null"] * 3
    # The call lent its session's, which are closed in a moment.
    wait_until(lambda: not any("pipe:" in link for link in _links(pid)))
    environment = open(f"/proc/{pid}/environ").read()
    assert "EXTP" not in environment
    assert "VOL_NAME" not in environment


def _links(pid: int) -> list[str]:
    """What a process has open; not what it has closed meanwhile."""
    found = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(file))
    return found
