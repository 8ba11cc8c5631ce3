# SPDX-License-Identifier: Apache-2.0
"""Looks at a volume that only hypervisors reach: by its URI for QEMU, with QEMU's own tools on the node."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

from gnt_storage.conformance.device import BLOCK, MIB, Device, Mark

_DUMPED = re.compile(rb"^[0-9a-f]{8,}:((?: +[0-9a-f]{2})+)  ", re.MULTILINE)


@dataclass(frozen=True)
class UriDevice(Device):
    """A volume at a URI; ``path`` is as attach printed it, without the hypervisor's name."""

    def size(self) -> int:
        line = f"qemu-img info -U -f raw --output=json {self._quoted}"
        told = json.loads(self._expect("qemu-img info", line))
        return int(told["virtual-size"])

    def write(self, mark: Mark) -> None:
        commands = " ".join(f'-c "write -s $block {offset} {BLOCK}"' for offset in (0, mark.last * BLOCK))
        line = f"cat >$block && qemu-io -f raw {commands} {self._quoted}"
        self._expect("writing", f"block=$(mktemp); {line}; s=$?; rm $block; exit $s", mark.content)

    def shows(self, mark: Mark) -> bool:
        commands = " ".join(f"-c 'read -v {offset} {BLOCK}'" for offset in (0, mark.last * BLOCK))
        seen = self._shell(f"qemu-io -r -U -f raw {commands} {self._quoted}")
        found = b"".join(bytes.fromhex(line.decode()) for line in _DUMPED.findall(seen.stdout))
        return seen.returncode == 0 and found == mark.content * 2

    def fill(self, size: int) -> None:
        self._expect("writing", f"qemu-io -f raw -c 'write -P 0xaa 0 {size * MIB}' {self._quoted}")

    def not_zero(self, start: int, end: int) -> str:
        command = f"read -P 0 {start * MIB} {(end - start) * MIB}"
        seen = self._shell(f"qemu-io -r -U -f raw -c '{command}' {self._quoted}")
        said = (seen.stdout + seen.stderr).decode("utf-8", "replace").strip()
        return "" if seen.returncode == 0 and "failed" not in said else said or "it can't be read"

    @property
    def _quoted(self) -> str:
        """As a file name; in Ganeti's hands it is an option's value, where a comma is doubled."""
        return shlex.quote(self.path.replace(",,", ","))
