# SPDX-License-Identifier: Apache-2.0
"""``itadm``: targets, portal groups and initiators; a failure's status is an errno."""

from __future__ import annotations

import errno
import getopt
import re
import uuid
from collections.abc import Callable

from tests.appliances.comstar.answers import Failure, Options, permuted
from tests.appliances.comstar.iscsi import Initiator, Iscsi, Target

SERVICE = "The iSCSI target service must be online before running this command."
GENERATED = "iqn.1986-03.com.sun:02:"
PORT = 3260
NOT_FOUND = 1


class Itadm:
    """The command over the target service's state. ``secret_file`` reads a file of the machine."""

    generated = GENERATED
    """How names begin that the machine makes; newer illumos says ``iqn.2010-08.org.illumos:02:``."""

    def __init__(self, iscsi: Iscsi, secret_file: Callable[[str], str | None]) -> None:
        self.iscsi = iscsi
        self.secret_file = secret_file
        self._commands: dict[str, tuple[str, Callable[[Options], str]]] = {
            "create-target": ("a:sS:u:n:l:t:", self._create_target),
            "modify-target": ("a:sS:u:n:l:t:", self._modify_target),
            "delete-target": ("f", self._delete_target),
            "list-target": ("v", self._list_targets),
            "create-tpg": ("", self._create_tpg),
            "list-tpg": ("v", self._list_tpgs),
            "delete-tpg": ("f", self._delete_tpg),
            "create-initiator": ("sS:u:", self._create_initiator),
            "modify-initiator": ("sS:u:", self._modify_initiator),
            "delete-initiator": ("", self._delete_initiator),
            "list-initiator": ("v", self._list_initiators),
            "modify-defaults": ("a:r:d:D:i:", self._modify_defaults),
            "list-defaults": ("", self._list_defaults),
        }

    def run(self, words: list[str]) -> str:
        """Run ``itadm WORDS``; returns what it prints. Raises Failure."""
        if not words or words[0].lower() not in self._commands:
            raise Failure(stdout="itadm: invalid subcommand\nUsage: itadm [subcommand] ...")
        name = words[0].lower()
        letters, command = self._commands[name]
        try:
            options = permuted(words[1:], letters)
        except getopt.GetoptError as error:
            raise Failure(
                stdout=f"itadm: unrecognized option: -{error.opt}\nUsage: itadm {name} ..."
            ) from error
        if self.iscsi.status != "online":
            raise Failure(SERVICE)
        try:
            return command(options)
        except Failure as failure:
            failure.stderr += f"itadm {name} failed with error {failure.status}\n"
            raise

    # --- targets ----------------------------------------------------------------------------------

    def _create_target(self, options: Options) -> str:
        given = options.get("-n") or next(iter(options.operands), "")
        iqn = _name(given) if given else self.generated + str(uuid.uuid4())
        if iqn in self.iscsi.targets:
            raise Failure(f"iSCSI target {iqn} already configured", errno.EEXIST)
        self.iscsi.targets[iqn] = self._changed(Target(iqn), options)
        return f"Target {iqn} successfully created\n"

    def _modify_target(self, options: Options) -> str:
        iqn = options.operands[0].lower()
        target = self._target(iqn)
        new = options.get("-n")
        if new is not None:
            if _name(new) in self.iscsi.targets:
                raise Failure(f"iSCSI target {new} already configured", errno.EEXIST)
            del self.iscsi.targets[iqn]
            target.iqn = _name(new)
        self.iscsi.targets[target.iqn] = self._changed(target, options)
        return f"Target {target.iqn} successfully modified\n"

    def _changed(self, target: Target, options: Options) -> Target:
        auth = options.get("-a", target.auth)
        if auth not in ("radius", "chap", "none", "default"):
            raise Failure(f"Invalid authentication method {auth}", errno.EINVAL)
        tags = (options.get("-t") or "").split(",") if options.get("-t") else None
        for tag in tags or []:
            if tag not in self.iscsi.tpgs and tag != "default":
                raise Failure(f"Invalid tpg-tag {tag}, tag not defined", errno.EINVAL)
        secret = self._secret(options)
        target.auth = auth
        target.secret = target.secret if secret is None else secret
        target.user = options.get("-u", target.user) or ""
        target.alias = options.get("-l", target.alias) or ""
        if tags is not None:
            target.tpgs = [] if tags == ["default"] else tags
        return target

    def _target(self, iqn: str) -> Target:
        if iqn not in self.iscsi.targets:
            raise Failure(f"Target {iqn} not found", NOT_FOUND)
        return self.iscsi.targets[iqn]

    def _delete_target(self, options: Options) -> str:
        iqn = options.operands[0].lower()
        target = self._target(iqn)
        if (target.online or self.iscsi.sessions(iqn)) and "-f" not in options:
            busy = "The target is online or busy. Use the -f (force) option, or 'stmfadm offline-target "
            raise Failure(f"{busy}{iqn}'", errno.EBUSY)
        del self.iscsi.targets[iqn]
        return ""

    def _list_targets(self, options: Options) -> str:
        wanted = [word.lower() for word in options.operands] or sorted(self.iscsi.targets)
        if not wanted:
            return ""
        printed = f"{'TARGET NAME':<61}{'STATE':<9}{'SESSIONS':<9}\n"
        for iqn in wanted:
            if iqn not in self.iscsi.targets:
                raise Failure(f"Target {iqn} not found!\n", 1)
            target = self.iscsi.targets[iqn]
            name = f"{iqn}\t" if len(iqn) > 60 else f"{iqn:<61}"
            state = "online" if target.online else "offline"
            printed += f"{name}{state:<9}{len(self.iscsi.sessions(iqn)):<9}\n"
            printed += self._details(target) if "-v" in options else ""
        return printed

    def _details(self, target: Target) -> str:
        inherited = " (defaults)" if target.auth == "default" else " "
        tags = ",".join(f"{tag} = {number}" for number, tag in enumerate(target.tpgs, 2)) or "default"
        return (
            f"\talias:             \t{target.alias or '-'}\n"
            f"\tauth:              \t{self.iscsi.auth(target)}{inherited}\n"
            f"\ttargetchapuser:    \t{target.user or '-'}\n"
            f"\ttargetchapsecret:  \t{'set' if target.secret else 'unset'}\n"
            f"\ttpg-tags:          \t{tags}\n"
        )

    # --- portal groups ----------------------------------------------------------------------------

    def _create_tpg(self, options: Options) -> str:
        name, *given = options.operands
        if name in self.iscsi.tpgs:
            raise Failure(f"Target Portal Group {name} already exists", errno.EEXIST)
        portals = [_portal(word) for word in given]
        for portal in portals:
            if any(portal in others for others in self.iscsi.tpgs.values()):
                raise Failure(f"Portal {portal} already in use", errno.EEXIST)
        self.iscsi.tpgs[name] = portals
        return ""

    def _list_tpgs(self, options: Options) -> str:
        wanted = options.operands or sorted(self.iscsi.tpgs)
        if not wanted:
            return ""
        printed = f"{'TARGET PORTAL GROUP':<30}{'PORTAL COUNT':<9}\n"
        for name in wanted:
            if name not in self.iscsi.tpgs:
                raise Failure(f"Target Portal Group {name} not found!\n", 1)
            printed += f"{name:<30}{len(self.iscsi.tpgs[name]):<9}\n"
            if "-v" in options:
                printed += f"    portals:\t{','.join(self.iscsi.tpgs[name])}\n"
        return printed

    def _delete_tpg(self, options: Options) -> str:
        name = options.operands[0]
        if name not in self.iscsi.tpgs:
            raise Failure(f"Target Portal Group {name} not found", NOT_FOUND)
        users = [target for target in self.iscsi.targets.values() if name in target.tpgs]
        if users and "-f" not in options:
            text = "Target portal group associated with one or more targets.  Cannot delete."
            raise Failure(text, errno.EBUSY)
        for target in users:
            target.tpgs.remove(name)
        del self.iscsi.tpgs[name]
        return ""

    # --- initiators -------------------------------------------------------------------------------

    def _create_initiator(self, options: Options) -> str:
        iqn = _name(options.operands[0])
        if iqn in self.iscsi.initiators:
            raise Failure(f"Initiator {iqn} already exists", errno.EINVAL)
        self.iscsi.initiators[iqn] = Initiator(iqn, options.get("-u") or "", self._secret(options) or "")
        return ""

    def _modify_initiator(self, options: Options) -> str:
        iqn = options.operands[0].lower()
        if iqn not in self.iscsi.initiators:
            raise Failure(f"Initiator {iqn} not found", errno.ENOENT)
        initiator, secret = self.iscsi.initiators[iqn], self._secret(options)
        initiator.secret = initiator.secret if secret is None else secret
        initiator.user = options.get("-u", initiator.user) or ""
        return ""

    def _delete_initiator(self, options: Options) -> str:
        iqn = options.operands[0].lower()
        if iqn not in self.iscsi.initiators:
            raise Failure(f"Initiator {iqn} not found", NOT_FOUND)
        del self.iscsi.initiators[iqn]
        return ""

    def _list_initiators(self, options: Options) -> str:
        """The rows are wider than their header."""
        wanted = [word.lower() for word in options.operands] or sorted(self.iscsi.initiators)
        if not wanted:
            return ""
        printed = f"{'INITIATOR NAME':<61}{'CHAPUSER':<10}{'SECRET':<7}\n"
        for iqn in wanted:
            if iqn not in self.iscsi.initiators:
                raise Failure(f"Initiator {iqn} not found!\n", 1)
            initiator = self.iscsi.initiators[iqn]
            name = f"{iqn}\t" if len(iqn) > 60 else f"{iqn:<61}"
            printed += f"{name}{initiator.user or '<none>':<15}{'set' if initiator.secret else 'unset':<7}\n"
        return printed

    def _secret(self, options: Options) -> str | None:
        """The secret in the file of ``-S``; None if no option speaks of one. Raises Failure."""
        if "-s" in options:
            # It asks twice on the terminal, and there is none.
            raise Failure("Invalid secret", errno.EINVAL)
        file = options.get("-S")
        if file is None:
            return None
        content = self.secret_file(file)
        if content is None:
            raise Failure(f"Invalid secret file {file}", errno.EINVAL)
        secret = content.removesuffix("\n")
        if not 12 <= len(secret) <= 255:
            raise Failure("Secret must be between 12 and 255 characters", errno.EINVAL)
        return secret

    # --- defaults ---------------------------------------------------------------------------------

    def _modify_defaults(self, options: Options) -> str:
        auth = options.get("-a", self.iscsi.default_auth)
        if auth not in ("radius", "chap", "none"):
            raise Failure(f"Invalid authentication method {auth}", errno.EINVAL)
        self.iscsi.default_auth = auth
        self.iscsi.radius = options.get("-r", self.iscsi.radius) or ""
        return ""

    def _list_defaults(self, options: Options) -> str:
        return (
            "iSCSI Target Default Properties\n\n"
            f"alias:             \t<none>\nauth:              \t<{self.iscsi.default_auth}>\n"
            f"radiusserver:      \t{self.iscsi.radius or '<none>'}\nradiussecret:      \tunset\n"
            "isns:              \tdisabled\nisnsserver:        \t<none>\n"
        )


def _name(text: str) -> str:
    """The name of a target or initiator, in lower case. Raises Failure."""
    if not text.lower().startswith(("iqn.", "eui.")):
        raise Failure(f"Invalid name {text}", errno.EINVAL)
    valid = re.match(r"iqn\.\d{4}-\d\d\.[a-z0-9.-]+(:[a-z0-9.:-]+)?\Z|eui\.[0-9a-f]{16}\Z", text.lower())
    if not valid or len(text) > 223:
        raise Failure(f"Invalid iSCSI name {text}", errno.EFAULT)
    return text.lower()


def _portal(text: str) -> str:
    return text if re.search(r"(\]|\A[^:\]]*):\d+\Z", text) else f"{text}:{PORT}"
