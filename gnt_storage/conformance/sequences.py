# SPDX-License-Identifier: Apache-2.0
"""The calls that Ganeti 3.0 makes for each of its commands, as traced on a cluster of three nodes.

Each row says what went before (``given``), the calls themselves, and what must be true afterwards
(``then``), all in the notation of ``notation``. Commands that make the same calls share a row.
Ganeti attaches before nearly everything, since its object for a disk does so when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnt_storage.conformance.case import GANETI, Case
from gnt_storage.conformance.notation import nodes_needed, scripts_used
from gnt_storage.conformance.trial import NotRun, Trial

ADDED = "n1: create attach open(X) setinfo write "
RUNNING = ADDED + "attach open(X) attach open(X) "
STOPPED = RUNNING + "attach detach "
SECOND_DISK = "create[2] attach[2] open(X)[2] setinfo[2] write[2] "

MIGRATE = (
    "n2: attach close n1: attach open(S)? n2: attach open(S)? "
    "n1: attach close n2: attach open(X) n1: attach detach "
)
MIGRATE_BACK = (
    "n1: attach close n2: attach open(S)? n1: attach open(S)? "
    "n2: attach close n1: attach open(X) n2: attach detach "
)
UNTIL_MEMORY_MOVES = "n2: attach close n1: attach open(S)? n2: attach open(S)? "


@dataclass(frozen=True)
class Row:
    """One command of Ganeti and the calls that it makes."""

    name: str
    command: str
    calls: str
    given: str = ""
    then: str = ""
    access: str = ""
    """Where a row is about one; else as everywhere."""
    needs: str = ""
    """Optional scripts without which the row says nothing; one that is called and skipped is fine."""
    required: bool = True
    """False where what a call answers is this suite's rule, and not Ganeti's."""

    def play(self, trial: Trial) -> None:
        """Make the calls. Raises Failed, Refused or NotRun."""
        for key in ("1", "2"):
            trial.volume(key).access = self.access or trial.engine.access
        trial.run(self.given)
        if self.access == "userspace" and trial.attachment().uri("kvm") is None:
            raise NotRun("attach prints no URI for kvm, so access=userspace can't be used")
        trial.run(self.calls)
        trial.run(self.then)

    def case(self) -> Case:
        """The case that plays this row."""
        texts = (self.given, self.calls, self.then)
        return Case(
            name="ganeti-" + self.name,
            rule=f"Ganeti's calls succeed: {self.command}.",
            source=GANETI,
            required=self.required,
            run=self.play,
            nodes=nodes_needed(*texts),
            scripts=frozenset(scripts_used(*texts) & {"snapshot"} | set(self.needs.split())),
        )


ROWS = (
    # --- one node: adding and removing ------------------------------------------------------------
    Row(
        "add",
        "gnt-instance add --no-install --no-start",
        calls="n1: create attach open(X) setinfo",
        then="n1: size",
    ),
    Row(
        "add-and-start",
        "gnt-instance add, and gnt-backup import with a start",
        calls="n1: create attach open(X) setinfo attach open(X) attach open(X)",
        then="n1: size write read",
    ),
    Row(
        "add-with-wipe",
        "gnt-instance add on a cluster with prealloc-wipe-disks",
        calls="n1: create attach open(X) setinfo attach*3",
        then="n1: size",
    ),
    Row(
        "add-second-disk-fails",
        "gnt-instance add whose second disk can't be made: the first is removed, the second left alone",
        given="n1: create[2] attach[2] write[2] detach[2]",
        calls="n1: create attach open(X) setinfo create[2]! attach detach remove",
        then="n1: attach! attach[2] read[2]",
    ),
    Row(
        "remove-never-started",
        "gnt-instance remove of an instance that never ran",
        given=ADDED,
        calls="n1: attach detach remove",
        then="n1: attach!",
    ),
    Row(
        "remove",
        "gnt-instance remove",
        given=STOPPED,
        calls="n1: attach detach remove",
        then="n1: attach!",
    ),
    Row(
        "remove-again",
        "gnt-instance remove, made again for a volume that is gone: attach says so",
        given=STOPPED,
        calls="n1: attach detach remove attach!*2",
    ),
    Row(
        "recreate-disks-existing",
        "gnt-instance recreate-disks while the volume exists: refused, its data untouched",
        given=STOPPED,
        calls="n1: create!",
        then="n1: attach read size",
    ),
    Row(
        "recreate-disks",
        "gnt-instance recreate-disks after the volume was lost",
        given=STOPPED + "attach detach remove",
        calls="n1: create attach open(X) setinfo attach detach",
        then="n1: attach size",
    ),
    # --- one node: the life of an instance --------------------------------------------------------
    Row(
        "startup",
        "gnt-instance startup, and activate-disks twice",
        given=STOPPED,
        calls="n1: attach open(X) attach open(X)",
        then="n1: read write read",
    ),
    Row(
        "shutdown",
        "gnt-instance shutdown, and deactivate-disks",
        given=RUNNING,
        calls="n1: attach detach",
        then="n1: attach read",
    ),
    Row(
        "deactivate-disks-twice",
        "gnt-instance deactivate-disks, made twice",
        given=RUNNING,
        calls="n1: attach detach attach detach",
        then="n1: attach read",
    ),
    Row(
        "info-running",
        "gnt-instance info, gnt-cluster verify and repair-disk-sizes, running",
        given=RUNNING,
        calls="n1: attach",
        then="n1: read size",
    ),
    Row(
        "info-stopped",
        "gnt-instance info, gnt-cluster verify and repair-disk-sizes, stopped: nobody detaches",
        given=STOPPED,
        calls="n1: attach",
        then="n1: read size",
    ),
    Row(
        "reboot-hard",
        "gnt-instance reboot -t hard",
        given=RUNNING,
        calls="n1: attach open(X)",
        then="n1: read",
    ),
    Row(
        "reboot-full",
        "gnt-instance reboot -t full",
        given=RUNNING,
        calls="n1: attach detach attach open(X) attach open(X)",
        then="n1: read write read",
    ),
    Row(
        "rename",
        "gnt-instance rename, there and back",
        given=STOPPED,
        calls=(
            "n1: attach open(X) attach setinfo attach open(X) attach detach "
            "attach open(X) attach setinfo attach open(X) attach detach"
        ),
        then="n1: attach read",
    ),
    Row(
        "reinstall",
        "gnt-instance reinstall",
        given=STOPPED,
        calls="n1: attach open(X) attach open(X) attach detach",
        then="n1: attach read",
    ),
    # --- one node: disks --------------------------------------------------------------------------
    Row(
        "grow-running",
        "gnt-instance grow-disk, running, twice",
        given=RUNNING,
        calls="n1: attach open(X) attach*4 grow attach size attach open(X) attach*4 grow attach",
        then="n1: read size write read",
    ),
    Row(
        "grow-stopped",
        "gnt-instance grow-disk, stopped",
        given=STOPPED,
        calls="n1: attach open(X) attach*4 grow attach*2 detach",
        then="n1: attach read size",
    ),
    Row(
        "grow-with-wipe",
        "gnt-instance grow-disk on a cluster with prealloc-wipe-disks",
        given=STOPPED,
        calls="n1: attach open(X) attach*5 grow attach*12 detach",
        then="n1: attach read size",
    ),
    Row(
        "disk-add-running",
        "gnt-instance modify --disk add, running, with and without hotplug",
        given=RUNNING,
        calls="n1: create[2] attach[2] open(X)[2] setinfo[2] attach[2] open(X)[2]",
        then="n1: size[2] write[2] read[2] read",
    ),
    Row(
        "disk-add-stopped",
        "gnt-instance modify --disk add, stopped",
        given=STOPPED,
        calls="n1: create[2] attach[2] open(X)[2] setinfo[2] attach[2] detach[2]",
        then="n1: attach[2] size[2] attach read",
    ),
    Row(
        "disk-remove",
        "gnt-instance modify --disk 1:remove",
        given=STOPPED + SECOND_DISK + "attach[2] detach[2]",
        calls="n1: attach[2] detach[2] remove[2]",
        then="n1: attach[2]! attach read",
    ),
    Row(
        "disk-detach",
        "gnt-instance modify --disk 1:detach: the volume stays, for --disk 1:attach",
        given=RUNNING + SECOND_DISK,
        calls="n1: attach[2] detach[2]",
        then="n1: attach[2] open(X)[2] read[2] read",
    ),
    # --- one node: backups ------------------------------------------------------------------------
    Row(
        "export-running",
        "gnt-backup export, running",
        given=RUNNING,
        calls=(
            "n1: attach snapshot attach open(X) attach open(X) "
            "attach[snap] open(X)[snap] attach[snap] detach[snap] remove[snap]"
        ),
        then="n1: attach[snap]! attach read",
    ),
    Row(
        "export-noshutdown",
        "gnt-backup export --noshutdown",
        given=RUNNING,
        calls=(
            "n1: attach snapshot attach open(X) "
            "attach[snap] size[snap] open(X)[snap] attach[snap] detach[snap] remove[snap]"
        ),
        then="n1: attach[snap]! attach read",
    ),
    Row(
        "export-stopped",
        "gnt-backup export, stopped: no snapshot is taken",
        given=STOPPED,
        calls="n1: attach open(X) attach open(X) attach open(X) attach detach",
        then="n1: attach read",
    ),
    # --- one node: access=userspace ---------------------------------------------------------------
    Row(
        "userspace",
        "gnt-instance startup, grow-disk, shutdown and remove with access=userspace",
        given="n1: create attach open(X) setinfo",
        calls=(
            "n1: attach open(X) attach*2 open(X) attach "
            "attach open(X) attach*5 grow attach attach*2 detach attach detach remove"
        ),
        then="n1: attach!",
        access="userspace",
    ),
    # --- two nodes --------------------------------------------------------------------------------
    Row(
        "migrate",
        "gnt-instance migrate, and gnt-node evacuate and migrate",
        given=RUNNING,
        calls=MIGRATE,
        then="n2: read size write read",
    ),
    Row(
        "migrate-and-back",
        "gnt-instance migrate, there and back",
        given=RUNNING,
        calls=MIGRATE + "n2: write " + MIGRATE_BACK,
        then="n1: read write read",
    ),
    Row(
        "migrate-memory-fails",
        "gnt-instance migrate whose transfer of memory fails",
        given=RUNNING,
        calls=UNTIL_MEMORY_MOVES + "n2: attach close attach detach n1: attach open(X)",
        then="n1: attach read write read",
    ),
    Row(
        "migrate-cleanup",
        "gnt-instance migrate --cleanup after close failed on the source: another node is asked to close",
        given=RUNNING + UNTIL_MEMORY_MOVES,
        calls="n3: attach close n2: attach open(X)?",
        then="n2: read write read",
    ),
    Row(
        "migrate-userspace",
        "gnt-instance migrate with access=userspace",
        given="n1: create attach open(X) setinfo attach open(X) attach*2 open(X) attach",
        calls=(
            "n2: attach close n1: attach open(S)? n2: attach open(S)? "
            "n1: attach close n2: attach open(X) n1: attach*2 detach"
        ),
        then="n2: attach*2 detach",
        access="userspace",
    ),
    Row(
        "failover-running",
        "gnt-instance failover, running",
        given=RUNNING,
        calls="n1: attach close attach detach n2: attach open(X) attach open(X)",
        then="n2: read write read",
    ),
    Row(
        "failover-stopped",
        "gnt-instance failover, stopped, and a startup on the other node",
        given=STOPPED,
        calls="n1: attach close attach detach n2: attach open(X) attach open(X)",
        then="n2: read write read",
    ),
    Row(
        "failover-dead-node",
        "gnt-instance failover from a node that is down: nothing is called there",
        given=RUNNING,
        calls="n2: attach open(X)? attach open(X)",
        then="n2: read",
    ),
    Row(
        "grow-after-migrate",
        "gnt-instance grow-disk on the node to which the instance migrated",
        given=RUNNING + MIGRATE,
        calls="n2: attach open(X) attach*4 grow attach",
        then="n2: read size",
    ),
    Row(
        "remove-refused",
        "gnt-instance remove while another node has the volume open: refused eleven times, possible later",
        given=RUNNING + "n2: attach detach",
        calls="n2: " + "attach detach remove! " * 11,
        then="n1: attach read detach n2: attach detach remove attach!",
        needs="open",
        required=False,
    ),
    Row(
        "start-elsewhere",
        "gnt-instance startup while another node still has the volume attached, as after info",
        given=STOPPED + "attach",
        calls="n2: attach open(X) attach open(X)",
        then="n2: read write read",
    ),
)

CASES = [row.case() for row in ROWS]
