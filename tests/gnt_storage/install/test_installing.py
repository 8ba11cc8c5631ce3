# SPDX-License-Identifier: Apache-2.0
"""What an installation leaves on a node: the new, or the old, and never less."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gnt_storage.install import payload
from gnt_storage.install.agent.files import Entry
from gnt_storage.install.agent.node import BASE, COMMANDS, CONFIG, CURRENT, SEARCHED
from gnt_storage.install.payload import Payload
from tests.conftest import CALL_SECONDS, CHECKOUT, Site
from tests.gnt_storage.install.conftest import SECRET, SECRET_PATH, Agent, changed, with_secret

CONF = f"{CONFIG}/file.conf"
AGENT = Path(payload.__file__).with_name("agent")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_from_nothing(agent: Agent, new: Payload) -> None:
    new.tree = payload.suite()
    answer = agent.install(new)
    assert (answer["result"], answer["status"], answer["reason"]) == ("changed", 0, "")
    assert {change["change"] for change in answer["changes"]} == {"added"}
    assert agent.tree() == new.tree
    assert agent.base() == [new.release, "current"]
    assert agent.path(CONF).read_bytes() == new.files[CONF].content
    logs = agent.path("var/log/ganeti/extstorage")
    assert (mode(logs), logs.owner()) == (0o750, agent.root.owner())
    done = agent.verify()
    assert (done.returncode, done.stderr) == (0, "")
    command = subprocess.run(
        [agent.path(COMMANDS, "gnt-storage"), "--version"], capture_output=True, check=False
    )
    assert (command.returncode, command.stderr) == (0, b"")
    assert agent.left_waiting() == []


def test_everything_is_compiled(agent: Agent, new: Payload) -> None:
    agent.install(new)
    release = agent.path(BASE, new.release)
    sources = {str(path.relative_to(release).with_suffix("")) for path in release.rglob("*.py")}
    compiled = {str(path.parent.parent.relative_to(release) / path.name) for path in release.rglob("*.pyc")}
    assert {name.split(".")[0] for name in compiled} == sources
    before = {path: path.stat().st_mtime_ns for path in release.rglob("*.pyc")}
    assert agent.verify().returncode == 0
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*.pyc")} == before
    # A traceback names the place where the file is, not the one where it was made.
    assert (
        str(release).encode() in next(release.glob("extstorage_common/__pycache__/script*.pyc")).read_bytes()
    )


def test_the_provider_directories_are_those_of_the_suite(new: Payload) -> None:
    for backend in (CHECKOUT / "providers").iterdir():
        names = {path.name for path in backend.iterdir()}
        installed = {path: entry for path, entry in new.tree.items() if f"providers/{backend.name}/" in path}
        assert {os.path.basename(path) for path in installed} == names
        for path, entry in installed.items():
            if entry.mode is None:
                assert os.path.realpath(CHECKOUT / path) == str(CHECKOUT / "extstorage_common/door")
                assert entry.content == b"../../extstorage_common/door"
            else:
                assert (CHECKOUT / path).read_bytes() == entry.content


def test_again_touches_nothing(agent: Agent, new: Payload) -> None:
    agent.install(new)
    before = agent.state()
    answer = agent.install(new)
    assert (answer["result"], answer["changes"]) == ("unchanged", [])
    assert agent.state() == before


def test_under_another_name(agent: Agent, new: Payload) -> None:
    new.providers = {"nfs1": "file"}
    new.files[f"{CONFIG}/nfs1.conf"] = new.files.pop(CONF)
    assert agent.install(new)["result"] == "changed"
    assert agent.verify("nfs1").returncode == 0
    assert not agent.path(SEARCHED, "file").exists()


def test_a_second_provider_keeps_the_first(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    other = Payload({"nfs1": "file"}, new.tree, {f"{CONFIG}/nfs1.conf": new.files[CONF]})
    assert agent.install(other)["result"] == "changed"
    assert [agent.verify(name).returncode for name in ("file", "nfs1")] == [0, 0]
    assert agent.path(CONF).read_bytes() == old.files[CONF].content


def test_upgrade_and_back(agent: Agent, old: Payload, new: Payload) -> None:
    for what in (old, new, old):
        assert agent.install(what)["result"] == "changed"
        assert agent.tree() == what.tree
        assert agent.path(CONF).read_bytes() == what.files[CONF].content
    # The release that was replaced just now may still be run in.
    assert set(agent.base()) >= {new.release, "current"}


def test_hooks_come_and_go_with_the_version(agent: Agent, old: Payload, new: Payload) -> None:
    hook = Entry(0o755, b"#!/bin/sh\necho hooked\n")
    old.tree["gnt_storage/hooks/instance-add-post.d/storage"] = hook
    stranger = agent.path("etc/ganeti/hooks/instance-add-post.d/mine")
    stranger.parent.mkdir(parents=True)
    stranger.symlink_to("/bin/true")
    agent.install(old)
    path = stranger.with_name("storage")
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"hooked\n"
    answer = agent.install(new)
    assert {"path": str(path.relative_to(agent.root)), "change": "removed", "diff": ""} in answer["changes"]
    assert [one.name for one in stranger.parent.iterdir()] == ["mine"]
    agent.install(old)
    agent.uninstall("file")
    assert [one.name for one in stranger.parent.iterdir()] == ["mine"]


def test_no_hook_without_what_it_needs(agent: Agent, new: Payload) -> None:
    """A hook that fails would keep Ganeti from working."""
    new.tree["gnt_storage/hooks/instance-remove-pre.d/storage"] = Entry(0o755, b"#!/bin/false\n")
    hook = agent.path("etc/ganeti/hooks/instance-remove-pre.d/storage")
    agent.install(new)
    assert hook.exists()
    lacking = replace(new, command_needs=("click", "nosuch"))
    for result in ("changed", "unchanged"):
        answer = agent.install(lacking)
        assert (answer["result"], answer["status"]) == (result, 0)
        assert answer["reason"] == "without the command and Ganeti's hooks, which need python3-nosuch"
    assert not hook.is_symlink()
    assert not agent.path(COMMANDS, "gnt-storage").is_symlink()
    assert agent.verify().returncode == 0
    assert agent.install(new)["reason"] == ""
    assert hook.exists()


def test_releases_are_removed_an_hour_after(agent: Agent, old: Payload, new: Payload) -> None:
    past = time.time() - 7200
    agent.install(old)
    os.utime(agent.path(BASE, old.release), (past, past))
    agent.install(new)
    assert old.release in agent.base()
    os.utime(agent.path(BASE, old.release), (past, past))
    agent.install(changed(new, {"extstorage_common/more.py": b""}))
    assert old.release not in agent.base()
    assert new.release in agent.base()


def test_what_was_changed_by_hand_is_mended(agent: Agent, new: Payload) -> None:
    agent.install(new)
    agent.path(CURRENT, "extstorage_common/door").write_text("#!/bin/false\n")
    agent.path(CURRENT, "providers/file/open").unlink()
    agent.path(CONF).chmod(0o666)
    answer = agent.install(new)
    assert [(change["path"], change["change"]) for change in answer["changes"]] == [
        (f"{CURRENT}/extstorage_common/door", "changed"),
        (f"{CURRENT}/providers/file/open", "added"),
        (CONF, "changed"),
    ]
    assert answer["changes"][2]["diff"] == "mode 0666 -> 0644"
    assert agent.tree() == new.tree
    assert mode(agent.path(CONF)) == 0o644
    assert agent.verify().returncode == 0


def test_dry_run_shows_and_touches_nothing(agent: Agent, old: Payload, new: Payload) -> None:
    assert len(agent.install(old, dry_run=True)["changes"]) == len(old.tree) + len(old.links()) + 2
    assert list(agent.root.iterdir()) == []
    agent.install(old)
    before = agent.state()
    answer = agent.install(new, dry_run=True)
    assert agent.state() == before
    changes = {change["path"]: change for change in answer["changes"]}
    assert changes[f"{CURRENT}/extstorage_common/gone.py"]["change"] == "removed"
    assert changes[f"{CURRENT}/extstorage_common/__init__.py"]["change"] == "changed"
    diff = changes[CONF]["diff"].splitlines()
    assert diff[:2] == [f"--- /{CONF}", f"+++ /{CONF}"]
    assert diff[-2:] == ["-timeout = 10", "+timeout = 20"]


def test_no_secret_is_shown(agent: Agent, new: Payload) -> None:
    what = with_secret(new)
    what.files[CONF] = Entry(0o644, what.files[CONF].content + b"chap_password = hunter2\n")
    text = str(agent.install(what, dry_run=True))
    assert f"+password_file = /{SECRET_PATH}" in text
    assert "+chap_password = ***" in text
    assert "hunter2" not in text
    assert SECRET.decode().strip() not in text


# --- secrets ----------------------------------------------------------------------------------------


SPY = b"""#!/bin/sh
cp "$EXTSTORAGE_CONFIG_DIR/file.conf" "$EXTSTORAGE_RUN_DIR.conf"
staged=$(sed -n 's/^password_file = //p' "$EXTSTORAGE_CONFIG_DIR/file.conf")
cp "$staged" "$EXTSTORAGE_RUN_DIR.secret"
stat -c %a "$staged" >"$EXTSTORAGE_RUN_DIR.mode"
grep -alF -f "$staged" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null >"$EXTSTORAGE_RUN_DIR.seen"
ls -d /proc/[0-9]*/environ >"$EXTSTORAGE_RUN_DIR.looked"
exit 0
"""


def test_a_secret_is_in_its_file_only(agent: Agent, new: Payload) -> None:
    answer = agent.install(with_secret(new, SPY))
    assert (answer["result"], answer["reason"]) == ("changed", "")
    assert agent.path(SECRET_PATH).read_bytes() == SECRET
    assert mode(agent.path(SECRET_PATH)) == 0o600
    run = agent.environment["EXTSTORAGE_RUN_DIR"]
    # The proof had the new secret, beside its place.
    assert Path(run + ".secret").read_bytes() == SECRET
    assert Path(run + ".mode").read_text() == "600\n"
    assert f"/{SECRET_PATH}\n" not in Path(run + ".conf").read_text()
    # No process had it in its arguments or its environment.
    assert Path(run + ".seen").read_text() == ""
    assert Path(run + ".looked").read_text().count("\n") > 2
    assert agent.left_waiting() == []


def test_a_secret_that_others_could_read_is_mended(agent: Agent, new: Payload) -> None:
    what = with_secret(new, SPY)
    agent.install(what)
    agent.path(SECRET_PATH).chmod(0o644)
    os.chown(agent.path(SECRET_PATH), 65534, 65534)
    assert [change["path"] for change in agent.install(what)["changes"]] == [SECRET_PATH]
    assert (mode(agent.path(SECRET_PATH)), agent.path(SECRET_PATH).stat().st_uid) == (0o600, os.geteuid())


def test_in_directories_that_pass_on_their_group(agent: Agent, new: Payload) -> None:
    """As Debian had /usr/local for its group staff: what is installed is root's alone."""
    for path in ("usr/local/lib", CONFIG):
        agent.path(path).mkdir(parents=True)
        os.chown(agent.path(path), -1, 50)
        agent.path(path).chmod(0o2775)
    agent.install(new)
    files = [path for path in agent.root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.stat().st_gid for path in files} == {os.getegid()}
    assert agent.install(new)["result"] == "unchanged"


# --- what can't be ----------------------------------------------------------------------------------


def test_the_old_stays_if_the_new_does_not_verify(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    before = agent.state()
    broken = changed(new, {}, {CONF: b"[default]\ndirectory = /nonexistent\n"})
    answer = agent.install(broken)
    assert (answer["result"], answer["status"]) == ("failed", 8)
    assert answer["reason"].startswith("file: verify in pool default failed: pool: /nonexistent is not pool")
    assert answer["reason"].endswith("; nothing was switched")
    after = agent.state()
    assert {path for path in before if path not in after} == set()
    # Only directories show that anything was there meanwhile.
    assert {path for path in after if before.get(path) != after[path]} == {
        f"{agent.root}/usr/local/lib/ganeti-extstorage",
        f"{agent.root}/usr/local/lib/ganeti-extstorage/.",
    }
    assert agent.verify().returncode == 0
    assert agent.install(broken, verify=False)["result"] == "changed"
    assert agent.verify().returncode == 8


def test_a_full_disk_changes_nothing(agent: Agent, old: Payload, new: Payload) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", agent.root], check=True)
    try:
        agent.install(old)
        base = agent.base()
        free = os.statvfs(agent.root)
        agent.path("filler").write_bytes(bytes(free.f_bavail * free.f_frsize - (64 << 10)))
        answer = agent.install(new)
        assert (answer["result"], answer["status"]) == ("failed", 11)
        assert answer["reason"].endswith("No space left on device")
        assert (agent.base(), agent.left_waiting(), agent.tree()) == (base, [], old.tree)
        assert agent.verify().returncode == 0
    finally:
        subprocess.run(["umount", agent.root], check=True)


def test_a_mistake_in_the_configuration_is_named_where_it_will_be(agent: Agent, new: Payload) -> None:
    answer = agent.install(changed(new, {}, {CONF: b"[default]\ndirectory = here\n"}))
    assert answer["status"] == 3
    assert f" /{CONF}: [default] directory is 'here'" in answer["reason"]
    assert agent.base() == []


def test_a_library_that_does_not_start_is_not_switched_to(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    answer = agent.install(changed(new, {"extstorage_common/script.py": b"import nosuch\n"}))
    assert answer["status"] == 1
    assert "No module named 'nosuch'" in answer["reason"]
    assert agent.tree() == old.tree


def test_a_provider_that_is_installed_is_verified_too(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    bad = changed(new, {"extstorage_common/verify.py": b"import nosuch\n"})
    bad.providers, bad.files = {"nfs1": "file"}, {}
    bad.tree["providers/file/verify"] = Entry(0o755, b"#!/bin/sh\ncase $0 in */file/*) exit 3;; esac\n")
    assert agent.install(bad)["reason"] == "file: verify failed without a word; nothing was switched"
    assert agent.tree() == old.tree


def test_refused_where_the_package_is(agent: Agent, new: Payload) -> None:
    status = agent.path("var/lib/dpkg/status")
    status.parent.mkdir(parents=True)
    (status.parent / "info").mkdir()
    (status.parent / "updates").mkdir()
    stanza = "Package: ganeti-extstorage\nStatus: install ok {}\nVersion: 1\nArchitecture: all\n"
    stanza += "Maintainer: M <m@example.com>\nDescription: x\n\n"
    for state in ("installed", "half-configured", "unpacked"):
        status.write_text(stanza.format(state))
        for answer in (agent.install(new), agent.install(new, dry_run=True), agent.uninstall("file")):
            assert (answer["result"], answer["status"]) == ("failed", 9)
            assert "the Debian package ganeti-extstorage is installed here" in answer["reason"]
    assert not agent.path("usr").exists()
    status.write_text(stanza.format("config-files").replace("install ok", "deinstall ok"))
    assert agent.install(new)["result"] == "changed"


def test_what_others_made_is_left_alone(agent: Agent, new: Payload) -> None:
    agent.path(SEARCHED, "file").mkdir(parents=True)
    for answer in (agent.install(new), agent.uninstall("file")):
        assert answer["status"] == 9
        assert f"/{SEARCHED}/file was not made by gnt-storage install" in answer["reason"]
    assert list(agent.path(SEARCHED, "file").iterdir()) == []


def test_no_version_that_lacks_an_installed_provider(agent: Agent, new: Payload) -> None:
    more = changed(new, {})
    more.tree |= {
        path.replace("/file/", "/tape/"): entry for path, entry in new.tree.items() if "providers/" in path
    }
    more.providers, more.files = {"tape": "tape"}, {}
    assert agent.install(more, verify=False)["result"] == "changed"
    answer = agent.install(new)
    assert (answer["status"], "provider tape is installed here" in answer["reason"]) == (9, True)
    assert agent.tree() == more.tree


def test_one_installation_at_a_time(agent: Agent, old: Payload, new: Payload) -> None:
    agent.install(old)
    with locked(agent.path(BASE)):
        answer = agent.install(new)
    assert (answer["status"], "another installation is at work here" in answer["reason"]) == (6, True)
    assert agent.install(new)["result"] == "changed"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    os.close(fd)


def test_an_old_python_is_named(new: Payload) -> None:
    stdin = new.installation(verify=True, dry_run=True)
    size, _, rest = stdin.partition(b"\n")
    old = "import sys; sys.version_info = (3, 9); exec(sys.stdin.read())"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", old], input=rest[: int(size)], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"3.11 or newer is needed" in done.stderr


# --- interruptions ----------------------------------------------------------------------------------


POINTS = ["unpacked", "compiled", "released", "staged", "verified", "prepared"]
SWITCHED = ["switched.file.conf", "switched.current"]


@pytest.mark.parametrize("point", [*POINTS, *SWITCHED])
def test_killed_during_an_upgrade(agent: Agent, old: Payload, new: Payload, point: str) -> None:
    agent.install(old)
    stdin = new.installation(verify=True, dry_run=False)
    assert agent.run(stdin, EXTSTORAGE_CRASH_AT=point).returncode == -9
    assert agent.tree() == (new if point == "switched.current" else old).tree
    configured = agent.path(CONF).read_bytes()
    assert configured == (new if point in SWITCHED else old).files[CONF].content
    assert agent.verify().returncode == 0
    assert agent.install(new)["result"] == ("unchanged" if point == "switched.current" else "changed")
    assert agent.tree() == new.tree
    assert agent.path(CONF).read_bytes() == new.files[CONF].content
    assert agent.left_waiting() == []
    assert agent.verify().returncode == 0


@pytest.mark.parametrize(
    "point", [*POINTS, *SWITCHED, "switched.gnt-storage", "switched.file", "switched.file.secret"]
)
def test_killed_during_a_first_installation(agent: Agent, new: Payload, point: str) -> None:
    new = with_secret(new, b"#!/bin/sh\n")
    stdin = new.installation(verify=True, dry_run=False)
    assert agent.run(stdin, EXTSTORAGE_CRASH_AT=point).returncode == -9
    assert agent.path(SEARCHED, "file").exists() == (point == "switched.file")
    secrets = [path for path in agent.root.rglob("*") if path.is_file() and SECRET in path.read_bytes()]
    assert [oct(mode(path)) for path in secrets if mode(path) != 0o600] == []
    agent.install(new)
    assert agent.tree() == new.tree
    assert agent.verify().returncode == 0
    assert agent.left_waiting() == []


def test_every_point_is_tried() -> None:
    named = {
        name
        for path in AGENT.glob("*.py")
        for name in re.findall(r'crash_point\("([a-z.]+)"', path.read_text())
    }
    assert named == {*POINTS, "switched.", "removed."}


@pytest.mark.parametrize("size", [0, 1000, -1000])
def test_cut_off_on_the_way(agent: Agent, old: Payload, new: Payload, size: int) -> None:
    """A connection that breaks while the archive is on its way changes nothing."""
    agent.install(old)
    before = agent.state()
    stdin = new.installation(verify=True, dry_run=False)
    done = agent.run(stdin[:size])
    assert done.returncode != 0
    assert agent.state() == before


def test_a_running_script_stays_in_its_release(agent: Agent, site: Site, old: Payload, new: Payload) -> None:
    agent.install(
        changed(old, {"extstorage_common/backends/file.py": b"raise SystemExit('the old one')\n"}),
        verify=False,
    )
    directory = site.directory / "slow"
    directory.mkdir()
    os.mkfifo(directory / "file.conf")
    script = subprocess.Popen(
        [agent.path(SEARCHED, "file", "verify")],
        env={**agent.environment, "EXTSTORAGE_CONFIG_DIR": str(directory)},
        stderr=subprocess.PIPE,
    )
    with open(directory / "file.conf", "wb") as configuration:  # open once the script reads it
        assert agent.install(new)["result"] == "changed"
        configuration.write(new.files[CONF].content)
    _, stderr = script.communicate(timeout=CALL_SECONDS)
    assert stderr == b"the old one\n"
    assert agent.verify().returncode == 0
