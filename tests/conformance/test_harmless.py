# SPDX-License-Identifier: Apache-2.0
"""The suite harms nothing but its own volumes, even with a careless provider, and always tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT, loop_devices
from tests.machines import wait_until

if TYPE_CHECKING:
    from pathlib import Path

CARELESS = """#!/bin/sh
disk=$TOY_DIR/$VOL_NAME note=$TOY_NODE_DIR/$VOL_NAME
mkdir -p "$TOY_NODE_DIR"
case ${0##*/} in
create) truncate -s "${VOL_SIZE}M" "$disk" ;;
attach)
    [ -e "$disk" ] || exit 1
    [ -f "$note" ] || losetup --find --show "$disk" >"$note"
    cat "$note"
    ;;
detach) [ ! -f "$note" ] || { losetup --detach "$(cat "$note")" && rm "$note"; } ;;
remove) rm -rf "$disk" ;;
grow) truncate -s "${VOL_NEW_SIZE}M" "$disk" ;;
esac
"""
SCRIPTS = ("create", "attach", "detach", "remove", "grow", "setinfo", "verify")


@pytest.fixture
def careless(suite: Suite, tmp_path: Path) -> Path:
    """A provider whose remove would take anything away, its whole pool too."""
    directory = tmp_path / "careless"
    directory.mkdir()
    for script in SCRIPTS:
        (directory / script).write_text(CARELESS)
        (directory / script).chmod(0o755)
    (directory / "parameters.list").write_text("")
    return directory


def test_other_volumes_and_neighbours_stay(suite: Suite, careless: Path, tmp_path: Path) -> None:
    others = [tmp_path / "toy/somebody.ext.disk0", tmp_path / "conformance", tmp_path / "toy/x"]
    for other in others:
        other.write_text("precious")
    status, results, _ = suite.run(
        careless, "--case", "*-are-checked", "--case", "variables-*", "--case", "*size*"
    )
    assert status == 1
    assert results["names-are-checked"]["outcome"] == "failed"
    assert [other.read_text() for other in others] == ["precious"] * 3


def test_script_that_cannot_be_run_is_a_failed_case(suite: Suite, careless: Path) -> None:
    (careless / "grow").write_text("#!/nonexistent/interpreter\n")
    command = [sys.executable, "-m", "gnt_storage", "conformance", str(careless), "--case", "away*"]
    assert subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False).returncode == 0
    # Without a prefix the script is started directly.
    (careless / "create").write_text("#!/nonexistent/interpreter\n")
    command[-1] = "size-is-enough"
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "gnt-storage: 1 of 1 cases failed\n")
    assert "it can't be run: No such file or directory" in done.stdout


def test_what_stays_behind_is_named_after_a_failure_too(suite: Suite, careless: Path) -> None:
    text = CARELESS.replace('remove) rm -rf "$disk" ;;', "remove) exit 1 ;;")
    for script in SCRIPTS:
        (careless / script).write_text(text)
    _, results, _ = suite.run(careless, "--case", "ganeti-remove")
    assert "remove conformance-" in results["ganeti-remove"]["seen"]
    assert "left behind: volume conformance-" in results["ganeti-remove"]["seen"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_cleans_up(suite: Suite, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "gnt_storage", "conformance", str(CHECKOUT / "providers/file")]
    running = subprocess.Popen(
        [*command, "--node", f"n1={suite.prefix(1)}"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: loop_devices(tmp_path))
    os.kill(running.pid, number)
    stdout, stderr = running.communicate(timeout=600)
    assert (running.returncode, stderr) == (6, "gnt-storage: interrupted before every case was run\n")
    assert "SEEN: interrupted" in stdout
    assert [path.name for path in (tmp_path / "pool").iterdir()] == [".ganeti-extstorage-pool"]
    assert loop_devices(tmp_path) == []
