# SPDX-License-Identifier: Apache-2.0
"""The provider's directory itself."""

from __future__ import annotations

import os
import shlex

from gnt_storage import providers
from gnt_storage.conformance.case import GANETI, Theme, man
from gnt_storage.conformance.trial import Failed, Trial

theme = Theme()


@theme.required(man("EXECUTABLE SCRIPTS"))
def directory_is_valid(trial: Trial) -> None:
    """The required scripts are executable files, and parameters.list is there."""
    parent, name = os.path.split(trial.engine.directory)
    provider = providers.examine(parent, name)
    if not provider.valid:
        raise Failed(provider.message)


@theme.required(man("DESCRIPTION"), nodes=2)
def directory_is_on_every_node(trial: Trial) -> None:
    """Every node has the required scripts and the same parameters.list: Ganeti copies nothing."""
    directory = shlex.quote(trial.engine.directory)
    tests = " && ".join(f"test -x {script}" for script in providers.REQUIRED_SCRIPTS)
    line = f"cd {directory} && {tests} && cat {providers.PARAMETERS_FILE}"
    seen = [(node.name, node.shell(line)) for node in trial.nodes]
    for name, answer in seen:
        if answer.returncode:
            raise Failed(f"{name}: {trial.engine.directory} lacks a script, or parameters.list")
        if answer.stdout != seen[0][1].stdout:
            raise Failed(f"parameters.list differs between {seen[0][0]} and {name}")


@theme.required(GANETI)
def parameters_list_is_clean(trial: Trial) -> None:
    """Each line of parameters.list has a name and a description, since gnt-storage crashes otherwise."""
    file = os.path.join(trial.engine.directory, providers.PARAMETERS_FILE)
    with open(file, encoding="utf-8", errors="backslashreplace") as lines:
        problems = providers.parameter_problems(lines.read())
    if problems:
        raise Failed("; ".join(problems))


@theme.strict()
def optional_scripts_are_there(trial: Trial) -> None:
    """The provider has snapshot, open and close too."""
    missing = [script for script in providers.OPTIONAL_SCRIPTS if not trial.engine.has(script)]
    if missing:
        raise Failed("there is no " + ", no ".join(missing))


@theme.strict()
def verify_succeeds(trial: Trial) -> None:
    """The verify script finds nothing wrong with this node."""
    for number, _ in enumerate(trial.nodes, 1):
        call = trial.call("verify", number)
        if not call.ok:
            raise Failed(str(call))
