# SPDX-License-Identifier: Apache-2.0
"""What a case works with: volumes of its own, calls, looks at devices, and cleaning up behind itself."""

from __future__ import annotations

import itertools
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gnt_storage.conformance.device import MIB, Device, Mark
from gnt_storage.conformance.engine import Attachment, Call, Engine, Node, Running, Volume
from gnt_storage.conformance.ledger import Ledger
from gnt_storage.conformance.notation import FIRST, LOOKS, SNAPSHOT, Step, parse
from gnt_storage.conformance.uri import UriDevice
from gnt_storage.providers import OPTIONAL_SCRIPTS

METADATA = "originstname+conformance.example.com"


class Failed(Exception):
    """The provider broke the rule; the text is what was seen."""


class Refused(Exception):
    """The provider declared a limit of its own, which the rule allows; the text is what it said."""


class Interrupted(Exception):
    """The suite was told to stop."""


class NotRun(Exception):
    """The rule can't be checked here; the text says why."""


@dataclass(frozen=True)
class Probe:
    """How a call differs from what Ganeti would do.

    ``changes`` are variables set otherwise, or (None) left out; ``pipes`` keeps stdout and stderr
    apart for an action that has a log file; ``new_size`` in MiB is for grow.
    """

    changes: Mapping[str, str | None] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    umask: int = 0o077
    pipes: bool = False
    new_size: int | None = None


AS_GANETI = Probe()


class Trial:
    """One run of one case.

    Nodes count from 1, and volumes have keys (``"1"``, ``"2"``, ``"snap"``), as in the notation.
    ``size`` is that of a new volume in MiB, ``step`` what ``grow`` adds.
    """

    def __init__(self, engine: Engine, nodes: Sequence[Node], size: int) -> None:
        self.engine = engine
        self.nodes = nodes
        self.size = size
        self.step = size // 2
        self._label = "conformance-" + uuid.uuid4().hex[:8]
        self._volumes: dict[str, Volume] = {}
        self._attachments: dict[tuple[int, str], Attachment] = {}
        self._marks: dict[str, Mark] = {}
        self._mark_numbers = itertools.count(1)
        self._ledger = Ledger()

    def volume(self, key: str = FIRST) -> Volume:
        """A volume of this case; it is named when it is first spoken of, and nothing is made yet."""
        if key not in self._volumes:
            if key == SNAPSHOT:
                self._volumes[key] = self.volume().snapshot(str(uuid.uuid4()))
            else:
                name = f"{self._label}.ext.disk{int(key) - 1}"
                self._volumes[key] = Volume(name, str(uuid.uuid4()), self.size, access=self.engine.access)
        return self._volumes[key]

    def attachment(self, node: int = 1, key: str = FIRST) -> Attachment:
        """What the last attach on that node printed."""
        return self._attachments[node, key]

    def device(self, node: int = 1, key: str = FIRST) -> Device:
        """The device of the last attach on that node; where there is none, what QEMU's URI leads to."""
        attachment = self.attachment(node, key)
        if attachment.device:
            return Device(self.nodes[node - 1], attachment.device, self.engine.limit)
        uri = attachment.uri("kvm")
        if uri is None:
            raise NotRun("the provider gives neither a block device nor a URI for kvm")
        return UriDevice(self.nodes[node - 1], uri, self.engine.limit)

    def block_device(self, node: int = 1, key: str = FIRST) -> Device:
        """The device of the last attach on that node. Raises NotRun where there is none."""
        if not self.attachment(node, key).device:
            raise NotRun("the volume has no block device")
        return self.device(node, key)

    def clean_up(self) -> list[str]:
        """Take away all that this case made; returns what could not be, a phrase each."""
        return self._ledger.clean_up(self.engine, self.nodes)

    @contextmanager
    def storage_away(self) -> Iterator[None]:
        """Meanwhile the storage is unreachable. Raises NotRun if that could not be done or undone."""
        if problem := _shell(self.engine.away):
            raise NotRun(problem)
        try:
            yield
        finally:
            problem = _shell(self.engine.back)
        if problem:
            raise NotRun(problem)

    def attach_when_back(self) -> None:
        """Attach as soon as the provider sees that its storage is back, which may take it a moment."""
        give_up = time.monotonic() + self.engine.limit
        while not (call := self.call("attach")).ok:
            if time.monotonic() > give_up:
                raise Failed(str(call))
            time.sleep(1)
        self._attachments[1, FIRST] = self.parse_attach(1, call)

    # --- calls ------------------------------------------------------------------------------------

    def run(self, text: str) -> None:
        """Make the calls and looks that ``text`` says (see ``notation``). Raises Failed or Refused."""
        for step in parse(text):
            if step.word in LOOKS:
                self._look(step)
            elif step.word not in OPTIONAL_SCRIPTS or self.engine.has(step.word):
                self._run_step(step)

    def _look(self, step: Step) -> None:
        if step.word == "write":
            self.write(step.node, step.volume)
        elif step.word == "read":
            self.read(step.node, step.volume)
        else:
            self.size_is_enough(step.node, step.volume)

    def _run_step(self, step: Step) -> None:
        call = self.call(step.word, step.node, step.volume, exclusive=step.exclusive)
        if step.must_fail:
            if call.ok:
                raise Failed(f"{call.name} succeeded, but should have failed")
        elif not call.ok:
            raise (Refused if step.may_refuse else Failed)(str(call))
        elif step.word == "attach":
            self._attachments[step.node, step.volume] = self.parse_attach(step.node, call)
        elif step.word == "grow":
            self.volume(step.volume).size += self.step

    def parse_attach(self, node: int, call: Call) -> Attachment:
        """Take attach's output as Ganeti takes it. Raises Failed where Ganeti could not use it."""
        if call.end.held:
            raise Failed(
                f"{call.name}: something that it started holds its output open; Ganeti waits for that"
            )
        attachment = Attachment.parse(call.end.stdout)
        if not attachment.device and not attachment.uris:
            raise Failed(f"{call.name} printed neither a device nor a URI")
        if attachment.device and not self.nodes[node - 1].is_block_device(attachment.device):
            raise Failed(f"{call.name} printed '{attachment.device[:200]}', which is no block device there")
        return attachment

    def call(
        self, action: str, node: int = 1, key: str = FIRST, probe: Probe = AS_GANETI, exclusive: bool = True
    ) -> Call:
        """One call and its end, whatever that is."""
        return self.end(self.start(action, node, key, probe, exclusive))

    def start(
        self, action: str, node: int = 1, key: str = FIRST, probe: Probe = AS_GANETI, exclusive: bool = True
    ) -> Running:
        """Start a call; :meth:`end` waits for it. Raises Interrupted, but never in the middle of a call."""
        if self.engine.stopping:
            raise Interrupted
        volume = self.volume(key)
        variables = self.engine.environment(
            action,
            volume,
            new_size=volume.size + self.step if probe.new_size is None else probe.new_size,
            metadata=METADATA,
            exclusive=exclusive,
        )
        changed = {**variables, **probe.changes}
        variables = {name: value for name, value in changed.items() if value is not None}
        self._ledger.begins(action, self.nodes[node - 1], variables)
        return self.engine.start(
            self.nodes[node - 1],
            action,
            variables,
            arguments=probe.arguments,
            umask=probe.umask,
            pipes=probe.pipes,
        )

    def end(self, running: Running) -> Call:
        """Wait for the end of a call. Raises Failed if the time limit had to end it."""
        call = running.wait()
        self._ledger.ended(call)
        if call.end.status is None:
            raise Failed(str(call))
        return call

    # --- looks at the volume ----------------------------------------------------------------------

    def write(self, node: int = 1, key: str = FIRST) -> Mark:
        """Write a new mark into the first and the last block."""
        volume = self.volume(key)
        mark = Mark.make(f"{volume.name} mark {next(self._mark_numbers)}", volume.size)
        self.device(node, key).write(mark)
        self._marks[key] = mark
        return mark

    def read(self, node: int = 1, key: str = FIRST, mark: Mark | None = None) -> None:
        """Check that the volume still holds a mark, by default the one last written. Raises Failed."""
        if not self.device(node, key).shows(mark or self._marks[key]):
            where = self.nodes[node - 1].name
            raise Failed(f"{where}: {self.volume(key).name} does not hold the data that was written")

    def size_is_enough(self, node: int = 1, key: str = FIRST) -> None:
        """Check that the device has room for what Ganeti thinks that it has. Raises Failed."""
        seen, wanted = self.device(node, key).size(), self.volume(key).size * MIB
        if seen < wanted:
            raise Failed(f"{self.nodes[node - 1].name}: the device has {seen} bytes, Ganeti thinks {wanted}")

    def zeros(self, start: int, end: int, node: int = 1, key: str = FIRST) -> None:
        """Check that the volume reads as zeros from ``start`` to ``end`` (MiB). Raises Failed."""
        found = self.device(node, key).not_zero(start, end)
        if found:
            raise Failed(f"not everything from {start} to {end} MiB reads as zero: {found}")


def _shell(line: str) -> str:
    """Run a command line of the administrator's; what went wrong, or nothing."""
    done = subprocess.run(line, shell=True, check=False, capture_output=True, text=True)
    if not done.returncode:
        return ""
    return f"'{line}' failed: {(done.stderr or done.stdout).strip()[:300]}"
