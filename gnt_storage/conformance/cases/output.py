# SPDX-License-Identifier: Apache-2.0
"""What a script prints, and what it leaves running."""

from __future__ import annotations

from gnt_storage.conformance.case import GANETI, Theme, man
from gnt_storage.conformance.trial import Failed, Probe, Trial

theme = Theme()
APART = Probe(pipes=True)


@theme.required(man("attach"))
def attach_prints_the_device(trial: Trial) -> None:
    """The first line of attach's output is a block device, and every further line is a URI."""
    trial.run("n1: create attach")
    for uri in trial.attachment().uris:
        if ":" not in uri:
            raise Failed(f"attach printed '{uri[:200]}' after the device, which is no URI")


@theme.required(man("attach"))
def attach_prints_the_same_again(trial: Trial) -> None:
    """Attaching a volume that is attached prints the same again."""
    trial.run("n1: create attach")
    first = trial.attachment()
    trial.run("n1: attach")
    if trial.attachment() != first:
        raise Failed(f"first {first.device}, then {trial.attachment().device}")


@theme.required(GANETI)
def attach_of_absent_fails(trial: Trial) -> None:
    """Attaching a volume that does not exist fails and prints no device."""
    call = trial.call("attach")
    if call.ok:
        raise Failed(f"{call.name} succeeded")
    if call.end.stdout:
        raise Failed(f"{call.name} failed, but printed '{call.end.stdout.strip()[:200]}'")


@theme.strict()
def only_attach_prints(trial: Trial) -> None:
    """No script but attach prints anything on stdout, and none prints on stderr when it succeeds."""
    trial.run("n1: create attach")
    trial.call("remove", key="2")
    for action in ("setinfo", "open", "close", "grow", "snapshot", "detach"):
        if not trial.engine.has(action):
            continue
        call = trial.call(action, probe=APART)
        if call.ok and call.text:
            raise Failed(f"{call.name} printed '{call.text.strip()[:200]}'")
    for key, action in (("1", "remove"), ("2", "create")):
        call = trial.call(action, key=key, probe=APART)
        if call.ok and call.text:
            raise Failed(f"{call.name} printed '{call.text.strip()[:200]}'")


@theme.required(GANETI)
def failure_says_why(trial: Trial) -> None:
    """A script that fails prints something, since that is all that Ganeti can show."""
    trial.run("n1: create")
    for action, key in (("attach", "2"), ("create", "1")):
        call = trial.call(action, key=key)
        if call.ok:
            raise Failed(f"{call.name} succeeded")
        if not call.text.strip():
            raise Failed(f"{call.name} failed with status {call.end.status} and said nothing")


@theme.strict()
def failure_is_one_line(trial: Trial) -> None:
    """A script that fails prints one line, on stderr."""
    trial.run("n1: create")
    for action, key in (("attach", "2"), ("create", "1"), ("grow", "2"), ("setinfo", "2")):
        call = trial.call(action, key=key, probe=APART)
        if call.ok:
            raise Failed(f"{call.name} succeeded")
        if call.end.stdout or len(call.end.stderr.splitlines()) != 1:
            raise Failed(f"{call.name} printed {len(call.text.splitlines())} lines: {call.text[:300]!r}")


@theme.strict()
def nothing_holds_the_output(trial: Trial) -> None:
    """Nothing that a script started keeps its output open after its end; after attach Ganeti waits for it."""
    for action in ("create", "attach", "open", "grow", "setinfo", "close", "detach", "remove"):
        if not trial.engine.has(action):
            continue
        call = trial.call(action, probe=APART)
        if call.end.held:
            raise Failed(f"after {call.name} some process still has its output open")


@theme.strict()
def umask_does_not_matter(trial: Trial) -> None:
    """The scripts do their work under any umask."""
    for action in ("create", "attach", "detach", "remove"):
        call = trial.call(action, probe=Probe(umask=0o777))
        if not call.ok:
            raise Failed(f"with umask 0777, {call}")
