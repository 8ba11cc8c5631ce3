# SPDX-License-Identifier: Apache-2.0
"""What a node tells of itself, by the program that is sent to it."""

from __future__ import annotations

import json
import os
import signal
import site
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from extstorage_common.makers import process_start
from gnt_storage.nodes.program import COMMAND, program
from gnt_storage.survey import agent, host
from gnt_storage.survey.taking import MODULES
from tests.machines import wait_until

OURS = "#!/bin/sh\n# from extstorage_common import script\n"
"""By this line a script is known as the suite's, whatever it does."""


def provider(directory: Path, verify: str) -> None:
    """A provider with this script as its verify."""
    directory.mkdir(parents=True)
    for script in ("create", "attach", "detach", "remove", "grow", "setinfo", "verify"):
        (directory / script).write_text(verify if script == "verify" else "#!/bin/sh\n")
        (directory / script).chmod(0o755)
    (directory / "parameters.list").touch()


def survey(search_path: Path, seconds: float = 60) -> dict[str, Any]:
    """Run the program as a node does; what it printed."""
    environment = {"EXTSTORAGE_SEARCH_PATH": str(search_path), "EXTSTORAGE_CONFIG_DIR": "/nonexistent"}
    done = subprocess.run(
        COMMAND,
        input=program(MODULES, "key", seconds),
        capture_output=True,
        env=environment,
        check=True,
        cwd="/",
    )
    assert done.stderr == b""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def verified(search_path: Path, seconds: float = 60) -> dict[str, Any]:
    """The report and the sentence of each provider."""
    told = survey(search_path, seconds)["providers"]
    return {one["name"]: (one["report"], one["verify"]) for one in told}


def gone(pid: int) -> bool:
    """Whether a process has ended; one that is only not buried yet has."""
    return not process_start(pid)


def test_a_verify_that_hangs_is_a_result(tmp_path: Path) -> None:
    """And does not keep the others from being asked, nor does it run on."""
    for name in ("hung", "hung2"):
        provider(tmp_path / name, f"{OURS}echo $$ >{tmp_path}/../{name}.pid; sleep 1000; :\n")
    provider(tmp_path / "well", f'{OURS}echo \'{{"version": 1, "library": "/none"}}\'\n')
    told = verified(tmp_path, seconds=10)
    assert told["hung"] == told["hung2"] == (None, "verify did not end within 10 s")
    assert told["well"] == ({"version": 1, "library": "/none"}, "")
    for name in ("hung", "hung2"):
        pid = int((tmp_path / f"../{name}.pid").read_text())
        wait_until(partial(gone, pid))


def test_a_verify_that_can_not_be_killed_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sleeps in the kernel is no more impressed by SIGKILL than this one."""
    provider(tmp_path / "file", f"{OURS}exec sleep 1000\n")
    spared: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda pid, _: spared.append(pid))
        told = agent._ask(str(tmp_path / "file/verify"), "key", 0.5)
    assert told == (None, "verify did not end within 0 s")
    for pid in spared:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert len(spared) == 1


@pytest.mark.parametrize(("body", "sentence"), [
    ("echo oops >&2; exit 1", "oops"),
    ("exit 0", "verify said nothing"),
    ("echo '[1]'", "verify gives a report that this gnt-storage can't read"),
    ("""echo '{"version": 2}'""", "verify gives a report that this gnt-storage can't read"),
    ("printf '\\377' >&2", "\\xff"),
])  # fmt: skip
def test_a_verify_that_gives_no_report(tmp_path: Path, body: str, sentence: str) -> None:
    provider(tmp_path / "file", f"{OURS}{body}\n")
    report, said = verified(tmp_path)["file"]
    assert report is None
    assert said.startswith(sentence)


def test_a_verify_that_is_not_ours_is_not_run(tmp_path: Path) -> None:
    provider(tmp_path / "file", f"#!/bin/sh\n: >{tmp_path}/ran\n")
    assert verified(tmp_path)["file"] == (None, "")
    assert not (tmp_path / "ran").exists()


def test_the_key_is_on_standard_input_alone(tmp_path: Path) -> None:
    """Neither a command line nor an environment has it."""
    look = "cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ"
    provider(tmp_path / "file", f"{OURS}{look} >{tmp_path}/../seen; read -r key; echo $key >&2\n")
    environment = {"EXTSTORAGE_SEARCH_PATH": str(tmp_path)}
    sent = program(MODULES, "the-key", 60)
    done = subprocess.run(COMMAND, input=sent, capture_output=True, env=environment, check=True)
    assert json.loads(done.stdout)["providers"][0]["verify"] == "the-key"
    assert b"the-key" not in (tmp_path / "../seen").read_bytes()


@pytest.mark.parametrize("daemon", host.SOCKETS)
def test_daemons_are_known_by_their_sockets(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket of the same kind under another name, since the real one may be taken here."""
    name = f"{host.SOCKETS[daemon]}.test-{os.getpid()}"
    monkeypatch.setitem(host.SOCKETS, daemon, name)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("\0" + name[1:])
        assert daemon not in host._daemons()
        one.listen()
        assert daemon in host._daemons()
    assert daemon not in host._daemons()


def test_what_a_node_made_of_a_guests_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume group on the disk or its partition; not where the device is another one by now."""
    block = tmp_path / "sys/class/block"
    for directory in (
        "sdx/holders/dm-3",
        "sdx/sdx1/holders/md7",
        "sdy/holders/dm-4",
        "dm-3/dm",
        "sdz/holders",
    ):
        (block / directory).mkdir(parents=True)
    (block / "dm-3/dm/name").write_text("vg-root\n")
    (tmp_path / "wwid").write_text("naa.1\n")
    for volume, device, wwid in (("v", "sdx", "naa.1"), ("w", "sdy", "naa.2"), ("x", "sdz", "naa.1")):
        record = f"state attached\nprovider rbd\ndevice /dev/{device}\nidentity {tmp_path}/wwid {wwid}\n"
        (tmp_path / "run/attachments").mkdir(parents=True, exist_ok=True)
        (tmp_path / "run/attachments" / volume).write_text(record)
    monkeypatch.setenv("EXTSTORAGE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(host, "SYSFS", str(tmp_path / "sys"))
    told = host.host()
    assert told["activated"] == [["v", "rbd", "vg-root"], ["v", "rbd", "md7"]]
    assert told["attachments"] == [[volume, "rbd", "attached"] for volume in ("v", "w", "x")]


def test_python_packages_from_pip_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory, name, version in (
        ("local", "os_brick", "6.2"),
        ("debian", "os-brick", "6.1"),
        ("debian", "click", "8"),
    ):
        info = tmp_path / directory / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / one) for one in ("local", "debian")])
    assert host._python_packages() == {"os-brick": "6.2"}


def test_the_targets_that_no_attachment_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of our own records; not those of a person, nor one that is just being attached."""
    nodes = {
        "iqn.2020-01.org.ours": "# ganeti-extstorage\n# BEGIN RECORD\n",
        "iqn.2020-01.org.man": "# BEGIN\n",
    }
    nodes["iqn.2020-01.org.used"] = nodes["iqn.2020-01.org.ours"]
    for name, text in nodes.items():
        (tmp_path / "nodes" / name).mkdir(parents=True)
        (tmp_path / "nodes" / name / "192.0.2.1,3260").write_text(text)
    (tmp_path / "attachments").mkdir()
    record = "state attaching\nkept target_portal 192.0.2.1:3260\nkept target_iqn iqn.2020-01.org.used\n"
    (tmp_path / "attachments/v").write_text(record)
    monkeypatch.setenv("EXTSTORAGE_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(host, "ISCSI_NODES", str(tmp_path / "nodes"))
    assert host.host()["targets"] == ["iqn.2020-01.org.ours"]
    (tmp_path / "attachments/v").unlink()
    assert host.host()["targets"] == ["iqn.2020-01.org.ours", "iqn.2020-01.org.used"]
