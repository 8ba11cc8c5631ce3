# SPDX-License-Identifier: Apache-2.0
"""Parts of the library that are easier to corner alone than from the door."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extstorage_common import config, deadline, errors, makers, paths, records, worker
from extstorage_common.backends import file_holders
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder, Holders
from extstorage_common.deadline import Deadline
from extstorage_common.errors import BadRequest, ExtStorageError
from extstorage_common.request import MAX_SIZE, VARIABLES, Request, is_name

if TYPE_CHECKING:
    from pathlib import Path

PRINTABLE = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))


@given(
    st.sampled_from(sorted(VARIABLES)),
    st.dictionaries(
        st.sampled_from(sorted({name for names in VARIABLES.values() for name in names})), PRINTABLE
    ),
)
def test_request_is_valid_or_refused(action: str, environ: dict[str, str]) -> None:
    try:
        request = Request(action, environ)
    except BadRequest as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.isprintable()
        return
    for variable in VARIABLES[action]:
        assert variable in environ
    assert action == "verify" or is_name(request.volume)
    assert 0 <= request.size <= MAX_SIZE


@pytest.mark.parametrize(
    "size", ["0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "", "٣", "²", str(MAX_SIZE + 1), "9" * 9999]
)
def test_bad_sizes(size: str) -> None:
    with pytest.raises(BadRequest):
        Request("create", {"VOL_NAME": "v", "VOL_SIZE": size})


@pytest.mark.parametrize(
    "name", ["a", "A.b_c-d", "9746bad9-6db3-4192-898e-4f8927e5c07a.ext.disk0.snap", "x" * 128]
)
def test_good_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", "x" * 129])
def test_bad_names(name: str) -> None:
    assert not is_name(name)


def test_variables_of_other_actions_do_not_matter() -> None:
    environ = {"VOL_NAME": "v", "VOL_SIZE": "nonsense", "EXTP_PROVIDER": "x", "EXTP_Pool": "gold"}
    assert Request("attach", environ).parameters == {"pool": "gold"}


def all_errors(tree: type[ExtStorageError] = ExtStorageError) -> list[type[ExtStorageError]]:
    return [tree, *(leaf for child in tree.__subclasses__() for leaf in all_errors(child))]


def test_statuses_are_those_of_the_contract() -> None:
    documented = {cls.__name__: cls.status for cls in errors.ExtStorageError.__subclasses__()}
    expected = {
        "BadRequest": 2,
        "ConfigurationError": 3,
        "NotFound": 4,
        "Exists": 5,
        "Busy": 6,
        "HeldElsewhere": 7,
        "Unreachable": 8,
        "Refused": 9,
        "TimedOut": 10,
        "NoSpace": 11,
        "WrongDevice": 12,
    }
    assert expected.items() <= documented.items()
    assert {cls.status for cls in all_errors()} == set(range(1, 13))


@given(PRINTABLE)
def test_a_sentence_is_one_printable_line(text: str) -> None:
    line = errors.one_line(text)
    assert "\n" not in line
    assert line.isprintable()


def test_surrogates_in_a_sentence() -> None:
    assert errors.one_line("a\udcffb").encode("utf-8") == b"a\\udcffb"


# --- records ----------------------------------------------------------------------------------------


def test_record_is_read_as_written(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    lines = [("a", "1 2"), ("b", ""), ("a", "x=\udcff")]
    records.write(path, records.Record("kind 1", lines))
    assert records.read(path, "kind 1").lines == lines
    with pytest.raises(records.BadRecord):
        records.read(path, "kind 2")
    assert os.listdir(tmp_path) == ["r"]


def test_record_refuses_newlines() -> None:
    with pytest.raises(ValueError, match="newline"):
        records.Record("kind 1", [("a", "b\nc")]).dump()


# --- holders of the file backend --------------------------------------------------------------------


def entries(holders: Holders) -> list[tuple[str, str]]:
    return [(one.node, one.mode) for one in holders.entries]


def test_compare_and_set(tmp_path: Path) -> None:
    directory = str(tmp_path)
    empty = file_holders.read(directory)
    assert entries(empty) == []
    assert file_holders.replace(directory, empty, [Holder("n1", EXCLUSIVE)])
    assert not file_holders.replace(directory, empty, [Holder("n2", EXCLUSIVE)])
    first = file_holders.read(directory)
    assert entries(first) == [("n1", EXCLUSIVE)]
    assert file_holders.replace(directory, first, [Holder("n1", SHARED), Holder("n2", SHARED)])
    assert entries(file_holders.read(directory)) == [("n1", SHARED), ("n2", SHARED)]
    assert os.listdir(directory) == ["holders-2"]


def test_stale_reader_loses_though_its_number_is_free(tmp_path: Path) -> None:
    """The state that it read is superseded, and the one after that deleted: its link succeeds."""
    directory = str(tmp_path)
    stale = file_holders.read(directory)
    for node in ("n1", "n2", "n3"):
        assert file_holders.replace(directory, file_holders.read(directory), [Holder(node, EXCLUSIVE)])
    assert not os.path.exists(tmp_path / "holders-1")
    assert not file_holders.replace(directory, stale, [Holder("n9", EXCLUSIVE)])
    assert entries(file_holders.read(directory)) == [("n3", EXCLUSIVE)]
    assert os.listdir(directory) == ["holders-3"]


# --- errors -----------------------------------------------------------------------------------------


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(13, "Permission denied", "/run/ganeti-extstorage/locks/v1")
    assert str(errors.unforeseen(denied)).startswith("this should not happen (PermissionError: ")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    told = errors.unforeseen(denied)
    assert (told.status, str(told)) == (9, "only root can do this: Permission denied")


# --- worker -----------------------------------------------------------------------------------------


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXTSTORAGE_RUN_DIR", str(tmp_path))
    return tmp_path


def test_worker_returns_lines_and_tells_pools(run_dir: Path) -> None:
    asked: list[str] = []

    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        asking("gold")
        return ["one", "two"]

    assert worker.run(work, "file", 60, asked.append) == ["one", "two"]
    assert asked == ["gold"]


def test_worker_hands_errors_on(run_dir: Path) -> None:
    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        raise errors.HeldElsewhere(node="n2", mode=EXCLUSIVE, advice="wait")

    with pytest.raises(worker.FromWorker, match="node n2 has the volume open") as raised:
        worker.run(work, "file", 60, lambda pool: None)
    assert raised.value.status == 7


def test_worker_that_dies(run_dir: Path) -> None:
    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        os.kill(os.getpid(), 9)
        return []

    with pytest.raises(errors.Interrupted, match="signal 9"):
        worker.run(work, "file", 60, lambda pool: None)


def test_how_a_worker_ends_that_has_said_all_does_not_matter(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", lambda status: os.kill(os.getpid(), 9))
    assert worker.run(lambda deadline, asking: ["one"], "file", 60, lambda pool: None) == ["one"]


def test_worker_that_says_nothing(run_dir: Path) -> None:
    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        raise SystemExit

    with pytest.raises(errors.Unforeseen, match="without an answer"):
        worker.run(work, "file", 60, lambda pool: None)


def test_worker_has_no_descriptor_of_ours(run_dir: Path) -> None:
    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        return [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)]

    assert worker.run(work, "file", 60, lambda pool: None) == [os.devnull] * 3


def test_worker_that_sleeps_is_left_behind(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        asking("gold")
        deadline.restart(0)  # only now, so that it has come this far
        time.sleep(3600)
        return []

    with pytest.raises(errors.TimedOut, match="asking pool 'gold'"):
        worker.run(work, "file", 60, lambda pool: None)
    monkeypatch.setattr(worker, "RESPITE", 3600)
    with pytest.raises(worker.FromWorker, match="left alone for a moment") as raised:
        worker.run(work, "file", 60, lambda pool: None)
    assert raised.value.status == 8
    old = time.time() - worker.RESPITE
    os.utime(run_dir / "timed-out/file.gold", (old, old))

    def asks(deadline: Deadline, asking: worker.Asking) -> list[str]:
        asking("gold")
        return []

    assert worker.run(asks, "file", 60, lambda pool: None) == []


def test_worker_that_has_not_even_begun_is_left_behind(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it leads its own group: that is the first thing that it does."""
    setpgid = os.setpgid
    monkeypatch.setattr(os, "setpgid", lambda pid, group: setpgid(pid, group) if pid else time.sleep(3600))
    with pytest.raises(errors.TimedOut, match="working on this node"):
        worker.run(lambda deadline, asking: [], "file", 0, lambda pool: None)


def test_a_worker_that_gives_up_by_itself_is_noted_too(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GRACE", 60)
    monkeypatch.setattr(worker, "RESPITE", 3600)

    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        asking("gold")
        for _ in deadline.attempts():
            pass
        raise errors.TimedOut(seconds=deadline.seconds, doing="waiting for the storage")

    with pytest.raises(worker.FromWorker, match="waiting for the storage"):
        worker.run(work, "file", 0.1, lambda pool: None)
    with pytest.raises(worker.FromWorker, match="left alone for a moment"):
        worker.run(work, "file", 60, lambda pool: None)


def test_a_worker_that_gives_up_before_its_parent_knows_when_is_noted_too(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent reads late of the deadline that the pool has, and takes it as beginning then."""
    monkeypatch.setattr(worker, "RESPITE", 3600)

    def work(deadline: Deadline, asking: worker.Asking) -> list[str]:
        asking("gold")
        deadline.restart(0.1)
        for _ in deadline.attempts():
            pass
        raise errors.TimedOut(seconds=deadline.seconds, doing="waiting for the storage")

    def read_on_when_it_has_ended(pool: str) -> None:
        os.waitid(os.P_PID, worker._unburied[-1], os.WEXITED | os.WNOWAIT)

    with pytest.raises(worker.FromWorker, match="waiting for the storage"):
        worker.run(work, "file", 60, read_on_when_it_has_ended)
    assert os.listdir(run_dir / "timed-out") == ["file.gold"]


# --- configuration and paths ------------------------------------------------------------------------


def test_options_are_read_from_default_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "x.conf").write_text("[DEFAULT]\ntimeout = 7\n[a]\n[b]\ntimeout = 8\nowner_options = none\n")
    configuration = config.load("x")
    pools = [configuration.pool(name, config.COMMON_OPTIONS, {}) for name in configuration.pool_names()]
    assert [pool["timeout"] for pool in pools] == [7, 8]
    assert [pool["owner_options"] for pool in pools] == [None, ()]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], "host"),
        (["other.example.com", "host.example.com"], "host.example.com"),
        (["host", "other"], "host"),
        (["host.a", "host.b"], "host"),
    ],
)
def test_node_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: list[str], expected: str) -> None:
    monkeypatch.setenv("EXTSTORAGE_SSCONF_DIR", str(tmp_path))
    monkeypatch.delenv("EXTSTORAGE_NODE", raising=False)
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"nodename": "host"}))
    (tmp_path / "ssconf_node_list").write_text("".join(name + "\n" for name in listed))
    assert paths.node_name() == expected


class Clock:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_attempts_end_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    assert sum(1 for _ in Deadline(0).attempts()) == 1
    assert sum(1 for _ in Deadline(0.004).attempts()) == 4  # after 0, 1, 3 and 4 ms
    assert sum(1 for _ in Deadline(7).attempts(0.004)) == 4
    before = clock.seconds
    assert sum(1 for _ in Deadline(2).attempts()) > 20
    assert clock.seconds == pytest.approx(before + 2)


def test_a_process_that_ended_is_none_also_before_anybody_waits_for_it() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert makers.process_start(process.pid) != ""
    assert process.stdin
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert makers.process_start(process.pid) == ""
    process.wait()
    assert makers.process_start(process.pid) == ""
