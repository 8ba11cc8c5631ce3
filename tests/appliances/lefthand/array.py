# SPDX-License-Identifier: Apache-2.0
"""The appliance: a line of CLIQ in, what the array prints out."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tests.appliances.lefthand import answers, grammar, verbs
from tests.appliances.lefthand.codes import PARAMETER_IGNORED, SUCCESS, CliqError
from tests.appliances.lefthand.facts import Facts
from tests.appliances.lefthand.group import ManagementGroup
from tests.appliances.lefthand.objects import Disk, Permission, Server
from tests.appliances.luns import Access, Exporter, Login, Lun, Target
from tests.appliances.model import Answer, ShellModel

MILLISECONDS = {"getclusterinfo": 423, "createvolume": 2539, "assignvolume": 4069, "deletevolume": 1416}
"""How long commands took on real arrays; they really take no time here."""
USUAL_MILLISECONDS = 181
PORT = 3260


class LeftHand(ShellModel):
    """A management group behind its command line. Its virtual addresses are where it exports."""

    NAME = "lefthand"

    def __init__(
        self, directory: Path, exporter: Exporter | None = None, portals: tuple[str, ...] = ()
    ) -> None:
        super().__init__(directory, exporter, portals)
        vips = tuple(portal.rpartition(":")[0] for portal in portals)
        self.install(Facts(vips=vips) if vips else Facts())

    def install(self, facts: Facts) -> None:
        """Begin anew, as an array of which these facts are so."""
        self.facts = facts
        self.ignored: list[str] = []
        self.installed = replace(facts)
        self.group = ManagementGroup(facts, self.directory, self._initiators)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """The facts that a person may want otherwise."""
        parser.add_argument("--cluster", default="c1", help="the cluster's name (default: %(default)s)")
        parser.add_argument("--group", default="Lab", help="its name (default: %(default)s)")
        parser.add_argument("--vips", help="virtual addresses, with commas; by default where it exports")

    def configure(self, options: argparse.Namespace) -> None:
        """Install what was said."""
        facts = replace(self.facts, cluster=options.cluster, group=options.group)
        if options.vips is not None:
            facts.vips = tuple(filter(None, options.vips.split(",")))
        self.install(facts)

    # --- commands ---------------------------------------------------------------------------------

    def execute(self, user: str, line: str) -> Answer:
        """Run a line for a user of the management group."""
        description, done = "Operation succeeded.", verbs.Done()
        output, verb = "xml" if "output=xml" in line.lower() else "", ""
        try:
            command = grammar.parse(line)
            verb, given = command.verb, command.parameters
            output = (given.find("output") or "").lower()
            done = verbs.run(self.group, command)
            ignored = sorted(set(given.given) - given.asked)
            if done.code == SUCCESS and ignored:
                done = verbs.Done(PARAMETER_IGNORED, done.elements)
                description = f"Parameter '{ignored[0]}' was ignored."
                self.ignored.append(line)
        except verbs.QuestionAsked:
            return Answer(verbs.QUESTION, status=1)
        except CliqError as error:
            done, description = verbs.Done(error.code), error.description
        if not verb.startswith("get"):
            self._publish()
        render = answers.as_xml if output == "xml" else answers.as_text
        milliseconds = MILLISECONDS.get(verb, USUAL_MILLISECONDS)
        told = render(self.facts, done.code, description, milliseconds, list(done.elements))
        return Answer(told, status=done.code.status)

    # --- exports ----------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Export what is assigned, and drop the files of what was deleted."""
        self.exporter.publish([self._target(disk) for disk in self.group.disks() if disk.permissions])
        wanted = {disk.file for disk in self.group.disks()}
        for file in self.directory.iterdir():
            if file.name.isdecimal() and file not in wanted:
                file.unlink()

    def _target(self, disk: Disk) -> Target:
        naa = disk.wwn.removeprefix("naa.")
        portals = self.portals or tuple(f"{vip}:{PORT}" for vip in self.facts.vips)

        def access(permission: Permission) -> Access:
            lun = Lun(disk.file, naa, "LEFTHAND", "iSCSIDisk", permission.access == "r")
            return Access({0: lun}, self._login(disk, permission.server))

        initiators = {one.server.initiator: access(one) for one in disk.permissions if one.server.initiator}
        return Target(disk.iqn, portals, initiators)

    def _login(self, disk: Disk, server: Server) -> Login | None:
        """How a server logs in; where it has an initiator's secret, that is what the array proves to know."""
        if not server.use_chap:
            return None
        name = disk.iqn if self.facts.mutual_name_is_target else server.chap_name
        mutual = (name, server.initiator_secret) if server.initiator_secret else ()
        return Login(server.chap_name, server.target_secret, *mutual)

    def _initiators(self, target: str) -> list[str]:
        return [initiator for name, initiator in self.exporter.sessions() if name == target]

    # --- a test's own questions -------------------------------------------------------------------

    def control_facts(self, **told: Any) -> None:
        """Let these facts be so from now on."""
        known = {field.name for field in fields(Facts)}
        for name, value in told.items():
            assert name in known, name
            setattr(self.facts, name, _as_fact(value))
        for cluster in self.group.clusters.values():
            cluster.nodes, cluster.vips = self.facts.nodes, self.facts.vips
            cluster.space = self.facts.space

    def control_reset(self, **told: Any) -> None:
        """Begin anew, as an array of which these facts are so."""
        given: dict[str, Any] = {name: _as_fact(value) for name, value in told.items()}
        installed = self.installed
        self.install(replace(installed, **given))
        self.installed = installed
        self._publish()

    def control_run(self, line: str) -> str:
        """What somebody else does at the array."""
        answer = self.execute("somebody", f"{line} output=XML")
        assert answer.status == 0, answer.stdout
        return answer.stdout

    def control_finish(self) -> None:
        """Let what is being deleted be gone."""
        for one in [one for one in self.group.volumes.values() if one.is_deleting]:
            del self.group.volumes[one.name]

    def control_faults(self) -> int:
        """How many faults are still to come."""
        return len(self.faults.faults)

    def control_ignored(self) -> list[str]:
        """The commands that had a parameter which did not apply."""
        return self.ignored

    def control_state(self) -> dict[str, Any]:
        """All that there is."""
        group = self.group
        return {
            "volumes": {
                one.name: {
                    "description": one.description,
                    "size": one.size,
                    "thin": one.thin,
                    "servers": [permission.server.name for permission in one.permissions],
                }
                for one in group.volumes.values()
                if not one.is_deleting
            },
            "snapshots": {one.name: one.description for one in group.snapshots.values()},
            "servers": {one.name: vars(one) for one in group.servers.values()},
        }


def _as_fact(value: Any) -> Any:
    """What a test said in JSON, which has no tuples."""
    return tuple(value) if isinstance(value, list) else value
