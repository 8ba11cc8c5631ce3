# SPDX-License-Identifier: Apache-2.0
"""``stmfadm``: units, views, groups, and the targets' state."""

from __future__ import annotations

import getopt
from collections.abc import Callable, Sequence

from tests.appliances.comstar.answers import Failure, Options, permuted
from tests.appliances.comstar.iscsi import Iscsi
from tests.appliances.comstar.stmf import (
    MAX_LUN,
    PROPERTIES,
    Stmf,
    Unit,
    UnitError,
    View,
    device_id,
    is_guid,
)

SERVICE = {
    "offline": "STMF service offline",
    "not found": "STMF service not found",
    "not initialized": "STMF service is not initialized",
}


class Stmfadm:
    """The command over the framework's state and the iSCSI targets."""

    says_auto = False
    """Some builds of Solaris 11 do not tell numbers that COMSTAR chose."""

    def __init__(self, stmf: Stmf, iscsi: Iscsi) -> None:
        self.stmf = stmf
        self.iscsi = iscsi
        self._commands: dict[str, tuple[str, str, Callable[[Options], str]]] = {
            # options, those that must be there, what it does
            "create-lu": ("p:s:", "", self._create_lu),
            "import-lu": ("", "", self._import_lu),
            "modify-lu": ("p:s:f", "", self._modify_lu),
            "delete-lu": ("k", "", self._delete_lu),
            "list-lu": ("v", "", self._list_lu),
            "online-lu": ("", "", lambda options: self._switch_lu(options, True)),
            "offline-lu": ("", "", lambda options: self._switch_lu(options, False)),
            "add-view": ("n:t:h:", "", self._add_view),
            "list-view": ("l:", "l", self._list_view),
            "remove-view": ("l:a", "l", self._remove_view),
            "create-hg": ("", "", lambda options: self._create_group(options, self.stmf.host_groups)),
            "create-tg": ("", "", lambda options: self._create_group(options, self.stmf.target_groups)),
            "delete-hg": ("", "", lambda options: self._delete_group(options, "host_group")),
            "delete-tg": ("", "", lambda options: self._delete_group(options, "target_group")),
            "add-hg-member": ("g:", "g", lambda options: self._add_member(options, "host_group")),
            "add-tg-member": ("g:", "g", lambda options: self._add_member(options, "target_group")),
            "remove-hg-member": ("g:", "g", lambda options: self._remove_member(options, "host_group")),
            "remove-tg-member": ("g:", "g", lambda options: self._remove_member(options, "target_group")),
            "list-hg": ("v", "", lambda options: self._list_groups(options, "Host", self.stmf.host_groups)),
            "list-tg": (
                "v",
                "",
                lambda options: self._list_groups(options, "Target", self.stmf.target_groups),
            ),
            "list-target": ("v", "", self._list_targets),
            "online-target": ("", "", lambda options: self._switch_target(options, True)),
            "offline-target": ("", "", lambda options: self._switch_target(options, False)),
            "list-state": ("", "", self._list_state),
        }

    def run(self, words: list[str]) -> str:
        """Run ``stmfadm WORDS``; returns what it prints. Raises Failure."""
        if words[:1] == ["-?"]:
            return _usage()
        if not words or words[0].lower() not in self._commands:
            raise Failure(stdout="stmfadm: invalid subcommand\n" + _usage().rstrip())
        letters, required, command = self._commands[words[0].lower()]
        if "-?" in words:
            return _usage(words[0].lower())
        try:
            options = permuted(words[1:], letters)
        except getopt.GetoptError as error:
            raise Failure(
                stdout=f"stmfadm: unrecognized option: -{error.opt}\n{_usage().rstrip()}"
            ) from error
        missing = [letter for letter in required if f"-{letter}" not in options]
        if missing:
            raise Failure(stdout=f"Following option(s) required: {', '.join(missing)}\n{_usage().rstrip()}")
        if self.stmf.status != "online":
            raise _failure(SERVICE[self.stmf.status])
        return command(options)

    # --- units ------------------------------------------------------------------------------------

    def _create_lu(self, options: Options) -> str:
        properties = _properties(options)
        try:
            unit = self.stmf.create(_single(options), options.get("-s"), properties)
        except UnitError as error:
            raise _unit_failure(error) from error
        return f"Logical unit created: {unit.guid.upper()}\n"

    def _import_lu(self, options: Options) -> str:
        try:
            unit = self.stmf.import_(_single(options))
        except UnitError as error:
            raise _unit_failure(error) from error
        return f"Logical unit imported: {unit.guid.upper()}\n"

    def _modify_lu(self, options: Options) -> str:
        operand = _single(options)
        if "-f" in options:
            unit = next((one for one in self.stmf.units.values() if one.path == operand), None)
            if unit is None:
                raise _failure("not found", operand)
        elif is_guid(operand) and operand.lower() not in self.stmf.units:
            # It has no words for libstmf's STMF_ERROR_NOT_FOUND.
            raise _failure(f"could not set property: {'size' if '-s' in options else 'property'}: 32770")
        else:
            unit = self._unit(operand)
        properties = _properties(options)
        if {"guid", "blk", "meta", "vid", "pid", "serial", "oui", "host-id"} & set(properties):
            raise _failure("invalid property for modify")
        size = options.get("-s")
        if size is not None:
            try:
                self.stmf.resize(unit, size)
            except UnitError as error:
                raise _failure(f"could not set property: size: {size}") from error
        unit.properties |= properties
        return ""

    def _unit(self, guid: str) -> Unit:
        if not is_guid(guid):
            raise _failure("must be 32 hexadecimal digits long", guid)
        if guid.lower() not in self.stmf.units:
            raise _failure("not found", guid)
        return self.stmf.units[guid.lower()]

    def _delete_lu(self, options: Options) -> str:
        return _each(options.operands, lambda guid: self._delete(guid, "-k" in options))

    def _delete(self, guid: str, keep: bool) -> None:
        if not is_guid(guid):
            raise _failure("must be 32 hexadecimal digits long", guid)
        if not self.stmf.delete(guid.lower(), keep):
            raise _failure("not found", guid)

    def _switch_lu(self, options: Options, online: bool) -> str:
        self._unit(_single(options)).online = online
        return ""

    def _list_lu(self, options: Options) -> str:
        """A word that is no GUID is complained of, and changes nothing in the status."""
        known = sorted({*self.stmf.units, *(guid for guid, views in self.stmf.views.items() if views)})
        printed, complaints, failures = "", [], 0
        for guid in options.operands or known:
            if not is_guid(guid):
                complaints.append(f"stmfadm: {guid}: must be 32 hexadecimal digits long")
            elif guid.lower() not in known:
                complaints.append(f"stmfadm: {guid}: not found")
                failures += 1
            else:
                printed += f"LU Name: {guid.upper()}\n"
                printed += self._details(guid.lower()) if "-v" in options else ""
        if complaints:
            raise Failure("\n".join(complaints), failures, printed.rstrip("\n"))
        return printed

    def _details(self, guid: str) -> str:
        unit = self.stmf.units.get(guid)
        if unit is None:
            rows = {"Operational Status": "unregistered", "Provider Name": "unregistered"}
            rows["View Entry Count"] = str(len(self.stmf.views[guid]))
        else:
            told = unit.properties
            rows = {
                "Operational Status": "Online" if unit.online else "Offline",
                "Provider Name": "sbd",
                "Alias": told.get("alias", unit.path),
                "View Entry Count": str(len(self.stmf.views.get(guid, {}))),
                "Data File": unit.path,
                "Meta File": told.get("meta", "not set"),
                "Size": str(unit.size),
                "Block Size": told.get("blk", "512"),
                "Management URL": told.get("mgmt-url", "not set"),
                "Vendor ID": told.get("vid", "SUN").ljust(8),
                "Product ID": told.get("pid", "COMSTAR").ljust(16),
                "Serial Num": told.get("serial", "not set"),
                "Write Protect": "Enabled" if told.get("wp") == "true" else "Disabled",
                "Writeback Cache": "Disabled" if told.get("wcd") == "true" else "Enabled",
                "Access State": "Active",
            }
        return "".join(f"    {name:<18}: {value}\n" for name, value in rows.items())

    # --- views ------------------------------------------------------------------------------------

    def _add_view(self, options: Options) -> str:
        guid = _single(options)
        if not is_guid(guid):
            raise _failure("must be 32 hexadecimal digits long", guid)
        number = options.get("-n")
        if number is not None and not (number.isdigit() and int(number) <= MAX_LUN):
            raise _failure("Logical unit number must be less than 16384")
        wanted = View(options.get("-h"), options.get("-t"), -1)
        if wanted.host_group is not None and wanted.host_group not in self.stmf.host_groups:
            raise _failure("invalid host group")
        if wanted.target_group is not None and wanted.target_group not in self.stmf.target_groups:
            raise _failure("invalid target group")
        if any(one.overlaps(wanted) for one in self.stmf.views.get(guid.lower(), {}).values()):
            raise _failure("view entry exists")
        wanted.is_automatic = number is None
        wanted.lun = int(number) if number is not None else self.stmf.free_lun(wanted)
        if any(view.lun == wanted.lun and view.overlaps(wanted) for _, view in self.stmf.all_views()):
            raise _failure("LUN already in use")
        self.stmf.add_view(guid.lower(), wanted)
        return ""

    def _views(self, guid: str) -> dict[int, View]:
        if not is_guid(guid):
            raise _failure("must be 32 hexadecimal digits long", guid)
        views = self.stmf.views.get(guid.lower())
        if not views:
            raise _failure("no views found", guid.lower())
        return views

    def _list_view(self, options: Options) -> str:
        views = self._views(options.get("-l") or "")
        wanted = [_number(word, views) for word in options.operands] or sorted(views)
        printed = ""
        for number in wanted:
            view = views[number]
            printed += f"View Entry: {number}\n"
            rows = {"Host group": view.host_group or "All", "Target group": view.target_group or "All"}
            hidden = self.says_auto and view.is_automatic
            for name, value in {**rows, "LUN": "Auto" if hidden else str(view.lun)}.items():
                printed += f"    {name:<13}: {value}\n"
        return printed

    def _remove_view(self, options: Options) -> str:
        guid = options.get("-l") or ""
        views = self._views(guid)
        if "-a" in options:
            views.clear()
        elif not options.operands:
            raise Failure(stdout="stmfadm: missing operand\n" + _usage("remove-view").rstrip())

        def remove(word: str) -> None:
            if not word.isdigit() or int(word) not in views:
                raise Failure(f"stmfadm: {guid.lower()}: {word}: not found")
            del views[int(word)]

        return _each(options.operands, remove)

    # --- groups -----------------------------------------------------------------------------------

    def _groups(self, kind: str) -> dict[str, list[str]]:
        return self.stmf.host_groups if kind == "host_group" else self.stmf.target_groups

    def _create_group(self, options: Options, groups: dict[str, list[str]]) -> str:
        name = _single(options)
        if name in groups:
            raise _failure("already exists", name)
        if len(name) > 255:
            raise _failure("invalid name", name)
        groups[name] = []
        return ""

    def _delete_group(self, options: Options, kind: str) -> str:
        name = _single(options)
        if name not in self._groups(kind):
            raise _failure("not found", name)
        if self.stmf.is_used(name, kind):
            raise _failure("group is in use by existing view entry")
        del self._groups(kind)[name]
        return ""

    def _add_member(self, options: Options, kind: str) -> str:
        group = options.get("-g") or ""

        def add(word: str) -> None:
            member = device_id(word)
            groups = self._groups(kind)
            if member is None:
                raise _failure("unrecognized device id", word)
            if group not in groups:
                raise _failure("not found", group)
            if any(member in members for members in groups.values()):
                raise _failure("already exists", word)
            if kind == "target_group" and self.iscsi.is_online(member):
                raise _failure("STMF target must be offline", word)
            groups[group].append(member)

        return _each(options.operands, add)

    def _remove_member(self, options: Options, kind: str) -> str:
        group = options.get("-g") or ""

        def remove(word: str) -> None:
            members = self._groups(kind).get(group)
            if members is None:
                raise _failure("not found", group)
            if word.lower() not in members:
                raise _failure("not found", word)
            members.remove(word.lower())

        return _each(options.operands, remove)

    def _list_groups(self, options: Options, kind: str, groups: dict[str, list[str]]) -> str:
        printed = ""
        for name in options.operands or groups:
            if name not in groups:
                raise _failure("not found", name)
            printed += f"{kind} Group: {name}\n"
            if "-v" in options:
                printed += "".join(f"\tMember: {member}\n" for member in groups[name])
        return printed

    # --- targets ----------------------------------------------------------------------------------

    def _list_targets(self, options: Options) -> str:
        printed = ""
        for iqn in [word.lower() for word in options.operands] or self.iscsi.targets:
            target = self.iscsi.targets.get(iqn)
            if target is None:
                raise _failure("not found", iqn)
            printed += f"Target: {iqn}\n"
            if "-v" not in options:
                continue
            sessions = self.iscsi.sessions(iqn)
            rows = {
                "Operational Status": "Online" if target.online else "Offline",
                "Provider Name": "iscsit",
                "Alias": target.alias or "-",
                "Protocol": "iSCSI",
                "Sessions": str(len(sessions)),
            }
            printed += "".join(f"    {name:<18}: {value}\n" for name, value in rows.items())
            for initiator in sessions:
                printed += f"        Initiator: {initiator}\n            Alias: -\n"
                printed += "            Logged in since: Thu Jan  1 00:00:00 2026\n"
        return printed

    def _switch_target(self, options: Options, online: bool) -> str:
        iqn = _single(options).lower()
        if iqn not in self.iscsi.targets:
            raise _failure("not found", iqn)
        self.iscsi.targets[iqn].online = online
        return ""

    def _list_state(self, options: Options) -> str:
        return (
            "Operational Status: online\nConfig Status     : initialized\n"
            "ALUA Status       : disabled\nALUA Node         : 0\n"
        )


def _usage(subcommand: str = "") -> str:
    return f"Usage: stmfadm {subcommand or '[subcommand]'} [options] ...\n"


def _failure(message: str, operand: str = "") -> Failure:
    return Failure(f"stmfadm: {operand}: {message}" if operand else f"stmfadm: {message}")


def _unit_failure(error: UnitError) -> Failure:
    return _failure(error.reason, error.operand)


def _single(options: Options) -> str:
    if len(options.operands) != 1:
        wrong = "missing operand" if not options.operands else "too many operands"
        raise Failure(stdout=f"stmfadm: {wrong}\n{_usage().rstrip()}")
    return options.operands[0]


def _each(operands: Sequence[str], act: Callable[[str], None]) -> str:
    """Act on every operand; the status counts those that failed."""
    failures = []
    for operand in operands:
        try:
            act(operand)
        except Failure as failure:
            failures.append(failure)
    if failures:
        raise Failure("".join(failure.stderr for failure in failures).rstrip("\n"), len(failures))
    return ""


def _properties(options: Options) -> dict[str, str]:
    properties = {}
    for text in options.all("-p"):
        name, equals, value = text.partition("=")
        if not equals or name not in PROPERTIES:
            raise _failure(f"invalid property specified: {name}")
        if name == "guid" and len(value) != 32:
            raise _failure("unable to set guid: invalid length")
        if name == "guid" and not is_guid(value):
            raise _failure("unable to set guid: bad format")
        properties[name] = value
    return properties


def _number(word: str, views: dict[int, View]) -> int:
    if not word.isdigit() or int(word) not in views:
        raise _failure("not found", word)
    return int(word)
