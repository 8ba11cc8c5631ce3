# SPDX-License-Identifier: Apache-2.0
"""Break a rule, and the right case goes red: each mutation is one change of a copy of the provider."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = "workflow.py"
FILE = "backends/file.py"
LOOP = "connectors/loop.py"
SCRIPT = "script.py"
DOOR = "door"
SENTINELS = ("data-survives-detach", "volumes-are-separate")
"""Cases that stay green under nearly every mutation: a suite that is all red proves nothing."""


class Mutation(NamedTuple):
    """``old`` becomes ``new`` in one file of the library, and exactly ``red`` of the cases named fail."""

    name: str
    file: str
    old: str
    new: str
    red: tuple[str, ...]
    green: tuple[str, ...] = SENTINELS


MUTATIONS = (
    Mutation(
        "a second line in attach",
        WORKFLOW,
        "return [attachment.link, *uris]",
        'return [attachment.link, "done", *uris]',
        ("attach-prints-the-device",),
    ),
    Mutation(
        "a line before the device",
        WORKFLOW,
        "return [attachment.link, *uris]",
        'return ["attached:", attachment.link, *uris]',
        ("attach-prints-the-device", "data-survives-detach"),
        (),
    ),
    Mutation(
        "the file instead of the device",
        WORKFLOW,
        "return [attachment.link, *uris]",
        'return [attachment.kept["path"], *uris]',
        ("attach-prints-the-device",),
        (),
    ),
    Mutation(
        "the warm attach answers differently",
        DOOR,
        "posix.write(1, answer",
        'posix.write(1, b"/dev/null"',
        ("attach-prints-the-same-again",),
        ("new-volume-is-zero",),
    ),
    Mutation(
        "create prints",
        WORKFLOW,
        "        backend.create_volume(name, self.request.size)\n",
        '        backend.create_volume(name, self.request.size)\n        return ["made"]\n',
        ("only-attach-prints",),
    ),
    Mutation(
        "create over an existing volume succeeds",
        WORKFLOW,
        "        self._refuse_existing(name)\n",
        "        try:\n            self._refuse_existing(name)\n        except VolumeExists:\n            return\n",
        ("create-over-existing-fails", "ganeti-recreate-disks-existing", "two-creates-at-once"),
    ),
    Mutation(
        "create makes an existing volume anew",
        WORKFLOW,
        "        raise VolumeExists(size=volume.size_mib, where=backend.pool.name)\n",
        "        backend.delete_volume(volume)\n",
        ("create-over-existing-fails", "ganeti-recreate-disks-existing"),
    ),
    Mutation(
        "failures are silent",
        SCRIPT,
        "    if sentence:\n",
        "    if False:\n",
        ("failure-says-why", "failure-is-one-line"),
    ),
    Mutation(
        "failures return 0",
        SCRIPT,
        "    return status\n",
        "    return 0\n",
        ("attach-of-absent-fails", "create-needs-a-size", "create-over-existing-fails"),
    ),
    Mutation(
        "failures print two lines",
        SCRIPT,
        'os.write(2, sentence.encode("utf-8", "backslashreplace") + b"\\n")',
        'os.write(2, b"sorry\\n" + sentence.encode("utf-8", "backslashreplace") + b"\\n")',
        ("failure-is-one-line",),
    ),
    Mutation(
        "a child keeps the output open",
        "worker.py",
        "        _let_go_of_ganeti()\n",
        "        if 'VOL_SIZE' in os.environ and not os.fork():\n"
        "            os.setsid() or time.sleep(30) or os._exit(0)\n"
        "        _let_go_of_ganeti()\n",
        ("nothing-holds-the-output",),
        (),
    ),
    Mutation(
        "grow to the old size",
        WORKFLOW,
        "backend.extend_volume(volume, self.request.new_size)",
        "backend.extend_volume(volume, self.request.size)",
        ("grow-shows-at-once", "grow-shows-after-attach", "size-is-exact", "ganeti-grow-running"),
    ),
    Mutation(
        "grow is not announced",
        WORKFLOW,
        "            connector.extend_volume(data, attachment.device)\n\n    def setinfo",
        "\n    def setinfo",
        ("grow-shows-at-once",),
        ("grow-shows-after-attach", *SENTINELS),
    ),
    Mutation(
        "grow may shrink",
        "request.py",
        'if action == "grow" and self.new_size < self.size:',
        "if False:",
        ("grow-never-shrinks",),
    ),
    Mutation(
        "new volumes are one MiB short",
        FILE,
        "        size = size_mib << 20\n        self._check_space(size,",
        "        size = (size_mib - 1) << 20\n        self._check_space(size,",
        ("size-is-enough", "size-is-exact"),
        (),
    ),
    Mutation(
        "new volumes hold old data",
        FILE,
        "                os.ftruncate(disk, size)\n\n        return",
        '                os.write(disk, b"x" * size)\n\n        return',
        ("new-volume-is-zero",),
    ),
    Mutation(
        "grown space holds old data",
        FILE,
        "                    os.ftruncate(disk, size)\n                os.fsync",
        '                    os.pwrite(disk, b"x" * (size - volume.size), volume.size)\n                os.fsync',
        ("grown-space-is-zero",),
    ),
    Mutation(
        "a second detach fails",
        WORKFLOW,
        "            self._leave(backend, volume)\n            return\n",
        "            raise NotFound(reason='not attached')\n",
        ("detach-twice", "detach-never-attached"),
    ),
    Mutation(
        "detach does nothing",
        WORKFLOW,
        "        name = self.request.volume\n        attachment = self._attachment(name)\n        if attachment is None:\n            # After",
        "        return\n        name = self.request.volume\n        attachment = self._attachment(name)\n        if attachment is None:\n            # After",
        ("detach-takes-the-device-away", "detach-gives-way"),
    ),
    Mutation(
        "detach of a busy device says that it is done",
        LOOP,
        "        raise DeviceBusy(device=device, users=",
        "        return\n        raise DeviceBusy(device=device, users=",
        ("busy-device-stays",),
    ),
    Mutation(
        "removing what is gone fails",
        WORKFLOW,
        "        except NotFound:\n            self._drop_stale_attachment(name)\n            return\n",
        "        except NotFound:\n            raise\n",
        ("remove-twice", "remove-never-existed"),
    ),
    Mutation(
        "remove does nothing",
        WORKFLOW,
        "        self._delete(backend, volume)\n        if attachment is not None:",
        "        if attachment is not None:",
        ("remove-twice",),
        (),
    ),
    Mutation(
        "close of what was never opened fails",
        WORKFLOW,
        "        holders.close_volume(backend, volume)\n\n    def remove",
        "        if backend.read_holders(volume).of(self.node) is None:\n"
        "            raise Busy(reason='not open')\n"
        "        holders.close_volume(backend, volume)\n\n    def remove",
        ("close-never-opened", "ganeti-migrate"),
    ),
    Mutation(
        "close keeps the volume",
        WORKFLOW,
        "        holders.close_volume(backend, volume)\n\n    def remove",
        "\n    def remove",
        ("close-gives-way",),
    ),
    Mutation(
        "detach keeps the volume open",
        WORKFLOW,
        "        holders.close_volume(backend, volume)\n        crash_point",
        "        crash_point",
        ("detach-gives-way",),
    ),
    Mutation(
        "nobody is refused",
        "holders.py",
        "            if exclusive or other.mode == EXCLUSIVE:\n",
        "            if False:\n",
        ("exclusive-excludes",),
    ),
    Mutation(
        "attach asks for exclusiveness",
        WORKFLOW,
        '        """Connect this node, whatever an earlier call left; undone again if it fails."""\n',
        '        """Connect this node, whatever an earlier call left; undone again if it fails."""\n'
        '        holders.open_volume(backend, volume, True, "-", [])\n',
        ("ganeti-migrate", "exclusive-excludes"),
    ),
    Mutation(
        "a volume that is open elsewhere is removed",
        "holders.py",
        "            if other.node not in offline:\n                advice",
        "            if False:\n                advice",
        ("open-elsewhere-is-not-removed", "ganeti-remove-refused"),
    ),
    Mutation(
        "an unknown parameter is accepted",
        "config.py",
        "            raise UnknownParameter(parameter=name, nearest=nearest(name, known))\n",
        "            continue\n",
        ("unknown-parameter-is-refused",),
    ),
    Mutation(
        "a changed parameter loses the volume",
        WORKFLOW,
        "return [pool for pool in expected if pool in self.configuration.pool_names()]",
        "[self.provider.pool(pool) for pool in expected]\n        return expected",
        ("changed-parameters-find-the-volume",),
    ),
    Mutation(
        "names are not checked",
        "request.py",
        "        if not is_name(value):\n",
        "        if False:\n",
        ("names-are-checked",),
    ),
    Mutation(
        "sizes are not checked",
        "request.py",
        '        expects = f"a whole number of MiB',
        '        return 16\n        expects = f"a whole number of MiB',
        ("create-needs-a-size",),
    ),
    Mutation(
        "the snapshot is the volume itself",
        FILE,
        "                if files.clone(source, disk):\n                    return\n",
        "                path = f'/proc/self/fd/{disk}'\n"
        "                os.unlink(os.readlink(path)) or os.link(origin, self._path('.making-' + name, 'disk'))\n"
        "                return\n",
        ("snapshot-keeps-old-data",),
    ),
    Mutation(
        "an unmounted pool is taken for empty",
        FILE,
        "        except (FileNotFoundError, NotADirectoryError):\n            raise PoolMarkerMissing(",
        "        except (FileNotFoundError, NotADirectoryError):\n            return ''\n"
        "            raise PoolMarkerMissing(",
        ("away-remove-fails", "away-create-fails"),
    ),
    Mutation(
        "a warm attach asks the storage",
        DOOR,
        "        posix._exit(0)\n",
        "        posix.stat(posix.environ[b'EXTSTORAGE_CONFIG_DIR'] + b'/../pool/.ganeti-extstorage-pool')\n"
        "        posix._exit(0)\n",
        ("away-attached-stays-attached",),
    ),
    Mutation(
        "a snapshot that is attached is replaced",
        WORKFLOW,
        "        if users:\n            raise SnapshotInUse(",
        "        if False:\n            raise SnapshotInUse(",
        ("snapshot-in-use-stays",),
    ),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_mutation(suite: Suite, tmp_path: Path, mutation: Mutation) -> None:
    for part in ("extstorage_common", "providers"):
        shutil.copytree(
            CHECKOUT / part, tmp_path / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = tmp_path / "extstorage_common" / mutation.file
    text = path.read_text()
    assert text.count(mutation.old) == 1, "the mutation no longer fits the code"
    path.write_text(text.replace(mutation.old, mutation.new))
    cases = [argument for name in (*mutation.red, *mutation.green) for argument in ("--case", name)]
    status, results, _ = suite.run(tmp_path / "providers/file", "--limit", "60", *cases)
    red = {name for name, one in results.items() if one["outcome"] == "failed"}
    assert red == set(mutation.red)
    assert status == 1
