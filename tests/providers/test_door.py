# SPDX-License-Identifier: Apache-2.0
"""The door: warm attaches, arguments, hostile environments, deadlines, the log."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extstorage_common.deadline import Deadline
from extstorage_common.request import VARIABLES
from tests.conftest import CALL_SECONDS, CHECKOUT, PROVIDER, Node, Site
from tests.machines import wait_until

NOTING = """
import posix, sys
told = sys.argv.pop(1)
def leave(status, leave=posix._exit):
    file = posix.open(told, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT, 0o600)
    posix.write(file, " ".join(sys.modules).encode() + b"\\n")
    leave(status)
posix._exit = leave
del sys.argv[0]
__file__ = sys.argv[0]
with open(__file__) as program:
    code = compile(program.read(), __file__, "exec")
exec(code)
"""


def imported(node: Node, action: str, processes: int, **variables: str) -> set[str]:
    """The modules that a script imports, beyond those that the bare interpreter does.

    Each of the call's processes notes them when it leaves, the child perhaps after its parent has.
    """
    told = node.site.config / "modules"

    def modules(program: str, processes: int) -> set[str]:
        told.unlink(missing_ok=True)
        subprocess.run(
            ["/usr/bin/python3", "-IS", "-c", NOTING, str(told), program],
            env={**node.environment, "VOL_NAME": "v1", **variables},
            capture_output=True,
            check=False,
        )
        for _ in Deadline(60).attempts():
            if len(lines := told.read_text().splitlines()) == processes:
                return {name for line in lines for name in line.split()}
        raise AssertionError(f"{len(lines)} processes")

    nothing = node.site.config / "nothing.py"
    nothing.write_text("import posix; posix._exit(0)\n")
    return modules(str(PROVIDER / action), processes) - modules(str(nothing), 1)


# --- warm attach ------------------------------------------------------------------------------------


def test_warm_attach_imports_nothing(n1: Node) -> None:
    n1.create()
    n1.attach()
    assert imported(n1, "attach", 1) == set()
    assert "extstorage_common.workflow" in imported(n1, "open", 2, VOL_OPEN_EXCLUSIVE="True")


def test_cold_call_imports_nothing_heavy(n1: Node) -> None:
    """With no configuration file not even its parser is needed."""
    (n1.site.config / "file.conf").unlink()
    heavy = {
        "re",
        "json",
        "subprocess",
        "configparser",
        "typing",
        "dataclasses",
        "enum",
        "logging",
        "argparse",
    }
    assert imported(n1, "attach", 2) & heavy == set()


def test_warm_attach_asks_no_storage(site: Site, n1: Node) -> None:
    n1.create()
    device = n1.attach()
    # In the place of the pool's mount, something that never answers would be asked in vain.
    assert imported(n1, "attach", 1) == set()
    (site.config / "file.conf").write_text("nonsense")
    assert n1.attach() == device


def test_warm_attach_is_not_fooled_by_another_device(site: Site, n1: Node) -> None:
    n1.create()

    def has_another_device() -> bool:
        """The same name, the same file, but not the device of the record; unless somebody took the name."""
        loop = os.readlink(n1.attach())
        subprocess.run(["losetup", "-d", loop], check=True)
        return subprocess.run(["losetup", loop, str(site.pool / "v1/disk")], check=False).returncode == 0

    wait_until(has_another_device)
    record = n1.record()
    loop = os.readlink(n1.run_dir / "dev/v1")
    device = n1.attach()
    assert n1.record() != record
    assert os.readlink(device) != loop


def test_warm_attach_mends_its_link(n1: Node) -> None:
    n1.create()
    device = n1.attach()
    target = os.readlink(device)
    os.unlink(device)
    os.symlink("/dev/null", device)
    assert n1.attach() == device
    assert os.readlink(device) == target


@pytest.mark.parametrize(
    "damage", ["", "ganeti-extstorage attachment 1\nstate atta", "ganeti-extstorage attachment 9\n"]
)
def test_damaged_record_is_said(n1: Node, damage: str) -> None:
    n1.create()
    n1.attach()
    (n1.run_dir / "attachments/v1").write_text(damage)
    assert "can't be read" in n1.fails(3, "attach")


# --- arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", VARIABLES)
def test_help(n1: Node, action: str) -> None:
    for option in ("-h", "--help"):
        result = n1.call(action, "v1", option)
        assert (result.status, result.stderr) == (0, "")
        assert result.stdout.startswith(f"usage: {action}")
        for variable in VARIABLES[action]:
            assert variable in result.stdout


@pytest.mark.parametrize("action", [action for action in VARIABLES if action != "verify"])
def test_surplus_arguments(site: Site, n1: Node, action: str) -> None:
    result = n1.call(action, "v1", "surplus", VOL_SIZE="16")
    assert result.status == 2
    assert result.stderr.startswith(f"usage: {action}")
    assert site.volumes() == []


def test_verify(site: Site, n1: Node) -> None:
    os.makedirs("/var/log/ganeti/extstorage", exist_ok=True)
    n1.ok("verify")
    assert n1.call("verify", "", "pool", "filesystem") == (0, "", "")
    unknown = n1.call("verify", "", "poool")
    assert unknown.status == 2
    assert "there is no check 'poool'" in unknown.stderr
    site.pool.rename(site.directory / "away")
    failed = n1.call("verify", "")
    assert failed.status == 8
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.count("marker file") == 1
    assert n1.call("verify", "", "configuration", "connector") == (0, "", "")
    assert n1.call("verify", "", "parameters", EXTP_NONSENSE="1").status == 2


@pytest.mark.parametrize("action", VARIABLES)
def test_missing_variables(site: Site, n1: Node, action: str) -> None:
    given_all = {
        "VOL_NAME": "v1",
        "VOL_SIZE": "16",
        "VOL_NEW_SIZE": "24",
        "VOL_METADATA": "text",
        "VOL_SNAPSHOT_NAME": "v1.snap",
        "VOL_SNAPSHOT_SIZE": "16",
        "VOL_OPEN_EXCLUSIVE": "True",
    }
    for missing in VARIABLES[action]:
        variables = {name: value for name, value in given_all.items() if name != missing}
        process = n1.start(action, **variables)
        stdout, stderr = process.communicate()
        assert (process.returncode, stdout) == (2, b"")
        assert missing in stderr.decode()
    assert site.volumes() == []


# --- hostile environments ---------------------------------------------------------------------------

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=300)
HOSTILE = st.one_of(
    TEXT,
    st.sampled_from(
        ["../../etc/passwd", "$(id)", "`id`", "a;b", "-rf", "a\nb", "\x1b[31m", "v1/../v2", "9" * 99]
    ),
)
VARIABLE_NAMES = (
    "VOL_NAME",
    "VOL_SIZE",
    "VOL_NEW_SIZE",
    "VOL_METADATA",
    "VOL_SNAPSHOT_NAME",
    "VOL_SNAPSHOT_SIZE",
    "VOL_OPEN_EXCLUSIVE",
    "VOL_UUID",
    "EXTP_POOL",
    "EXTP_ALLOCATION",
    "EXTP_BAD-NAME",
    "EXTP_",
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    action=st.sampled_from(sorted(VARIABLES)),
    variables=st.dictionaries(
        st.sampled_from(VARIABLE_NAMES),
        HOSTILE,
    ),
)
def test_hostile_environment(site: Site, n1: Node, action: str, variables: dict[str, str]) -> None:
    before = sorted(path.name for path in site.directory.iterdir())
    process = n1.start(action, **variables)
    stdout, stderr = process.communicate(timeout=CALL_SECONDS)
    assert 0 <= process.returncode <= 12
    assert process.returncode != 1, stderr
    assert b"Traceback" not in stderr
    assert stdout == b""
    assert stderr.count(b"\n") == (1 if process.returncode else 0)
    assert stderr.isascii() or stderr.decode().rstrip("\n").isprintable()
    if process.returncode:
        assert site.volumes() == []
    assert sorted(path.name for path in site.directory.iterdir() if path.name != "n1") == [
        name for name in before if name != "n1"
    ]


# --- deadlines --------------------------------------------------------------------------------------

SHORT = 5
"""Seconds that a call gets which can't succeed: enough to come to where it fails, also on a slow machine."""


def test_lock_that_is_not_freed(site: Site, n1: Node) -> None:
    n1.create()
    site.configure(f"[default]\ndirectory = {site.pool}\ntimeout = {SHORT}\n")
    lock = n1.run_dir / "locks/v1"
    with lock.open("w") as file:
        file.write("grow, process 42\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        sentence = n1.fails(6, "attach")
    assert "another call is working on it (grow, process 42)" in sentence
    site.configure(f"[default]\ndirectory = {site.pool}\n")
    n1.attach()


def test_storage_that_hangs(site: Site, n1: Node) -> None:
    """A FIFO in the marker's place: whoever opens it to read sleeps until somebody writes."""
    n1.create()
    n1.attach()
    site.configure(f"[default]\ndirectory = {site.pool}\ntimeout = {SHORT}\n")
    marker = site.pool / ".ganeti-extstorage-pool"
    content = marker.read_bytes()
    marker.unlink()
    os.mkfifo(marker)
    assert "asking pool 'default'" in n1.fails(10, "open", VOL_OPEN_EXCLUSIVE="True")
    # Ganeti asks disk after disk: for a moment nobody waits again.
    site.configure(f"[default]\ndirectory = {site.pool}\n")
    noted = n1.run_dir / "timed-out/file.default"
    os.utime(noted)  # from now on, however long the last call took
    assert "left alone for a moment" in n1.fails(8, "attach", "v2")
    # What is here is let go, even so.
    os.utime(noted)
    assert "detach again" in n1.fails(8, "detach")
    assert site.loop_devices() == []
    marker.unlink()
    marker.write_bytes(content)
    noted.unlink()
    n1.ok("detach")
    n1.ok("remove")
    assert n1.left() == []


def test_nothing_of_ganeti_is_inherited_by_what_is_left_behind(site: Site, n1: Node) -> None:
    site.configure(f"[default]\ndirectory = {site.pool}\ntimeout = {SHORT}\n")
    marker = site.pool / ".ganeti-extstorage-pool"
    marker.unlink()
    os.mkfifo(marker)
    process = n1.start("attach", VOL_NAME="v1")
    # communicate() returns at the end of both pipes, so nobody holds them.
    _, stderr = process.communicate(timeout=CALL_SECONDS)
    assert process.returncode == 10
    assert stderr.count(b"\n") == 1


# --- the log ----------------------------------------------------------------------------------------


def test_each_cold_call_is_one_line_of_the_log(n1: Node) -> None:
    n1.create()
    n1.attach()
    n1.attach()
    n1.fails(5, "create", VOL_SIZE="16")
    log = (Path(n1.environment["EXTSTORAGE_LOG_DIR"]) / "file.log").read_text().splitlines()
    assert [re.sub(r"^\S+ |seconds=\S+", "", line).split(" file:")[0].strip() for line in log] == [
        "n1 create v1 default status=0",
        "n1 attach v1 default status=0",
        "n1 create v1 default status=5",
    ]


def test_log_that_can_not_be_written_fails_no_call(n1: Node) -> None:
    n1.environment["EXTSTORAGE_LOG_DIR"] = "/proc/nonexistent"
    n1.create()


def test_traceback_only_on_request(site: Site, n1: Node) -> None:
    (site.pool / "v1").mkdir()
    (site.pool / "v1/disk").write_bytes(bytes(1 << 20))
    (site.pool / "v1/holders-x").write_text("")
    n1.attach()
    sentence = n1.fails(1, "open", VOL_OPEN_EXCLUSIVE="True")
    assert "report what it prints" in sentence
    debug = n1.call("open", VOL_OPEN_EXCLUSIVE="True", EXTSTORAGE_DEBUG="1")
    assert "Traceback" in debug.stderr


def test_door_by_itself() -> None:
    done = subprocess.run([str(CHECKOUT / "extstorage_common/door")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "this is run as one of: create" in done.stderr
