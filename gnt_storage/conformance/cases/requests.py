# SPDX-License-Identifier: Apache-2.0
"""Requests that make no sense, and what must not matter in one that does."""

from __future__ import annotations

from gnt_storage.conformance.case import GANETI, Theme
from gnt_storage.conformance.trial import Failed, Probe, Trial

theme = Theme()

BAD_SIZES = ("", "0", "-1", "many", "1.5", "0x10", "99999999999999999999999")
BAD_NAMES = ("", "../{0}", "-{0}", ".{0}", "{0}/x", "{0} {0}-x", "{0}\n{0}-x", "{0}" + "x" * 300)
"""``{0}`` is a name of this run alone: should a provider take such a name, what it does hits nobody else."""


def _refused(trial: Trial, action: str, changes: dict[str, str | None], key: str = "1") -> None:
    call = trial.call(action, key=key, probe=Probe(changes=changes))
    if call.ok:
        said = ", ".join(f"{name}={value!r:.60}" for name, value in changes.items())
        raise Failed(f"{call.name} with {said} succeeded")


def _absent(trial: Trial) -> None:
    call = trial.call("attach")
    if call.ok:
        trial.run("n1: detach")
        raise Failed("a create that failed left a volume behind")


@theme.strict()
def create_needs_a_size(trial: Trial) -> None:
    """A create without a size in whole MiB above 0 is refused and makes nothing."""
    for size in BAD_SIZES:
        _refused(trial, "create", {"VOL_SIZE": size})
        _absent(trial)
    _refused(trial, "create", {"VOL_SIZE": None})
    _absent(trial)


@theme.strict()
def names_are_checked(trial: Trial) -> None:
    """A name that could mean something to a shell, a path or an array is refused."""
    for pattern in BAD_NAMES:
        name = pattern.format(trial.volume().name)
        _refused(trial, "create", {"VOL_NAME": name})
        _refused(trial, "attach", {"VOL_NAME": name})


@theme.strict()
def variables_must_be_there(trial: Trial) -> None:
    """A call without a variable that Ganeti always sets is refused."""
    # Neither remove nor detach is called without a name: a careless script would take the whole pool away.
    trial.run("n1: create")
    needed = {
        "create": ["VOL_NAME"],
        "attach": ["VOL_NAME"],
        "grow": ["VOL_NAME", "VOL_NEW_SIZE"],
    }
    for action, variables in needed.items():
        for variable in variables:
            _refused(trial, action, {variable: None})
    trial.run("n1: attach")


@theme.strict()
def open_needs_its_mode(trial: Trial) -> None:
    """An open that says neither exclusive nor shared is refused."""
    if trial.engine.has("open"):
        trial.run("n1: create attach")
        _refused(trial, "open", {"VOL_OPEN_EXCLUSIVE": None})
        _refused(trial, "open", {"VOL_OPEN_EXCLUSIVE": "maybe"})


@theme.strict()
def grow_never_shrinks(trial: Trial) -> None:
    """A grow below the present size is refused and changes nothing."""
    trial.run("n1: create attach write")
    call = trial.call("grow", probe=Probe(new_size=trial.size // 2))
    if call.ok:
        raise Failed(f"{call.name} to half the size succeeded")
    trial.run("n1: attach size read")


@theme.strict()
def unknown_parameter_is_refused(trial: Trial) -> None:
    """A parameter that the provider does not know is refused by create, since Ganeti checks none."""
    _refused(trial, "create", {"EXTP_CONFORMANCE_NONSENSE": "1"})
    _absent(trial)


@theme.required(GANETI)
def unknown_parameter_loses_nothing(trial: Trial) -> None:
    """After creation an unknown parameter harms no call: Ganeti takes a failing attach for a lost disk."""
    nonsense = Probe(changes={"EXTP_CONFORMANCE_NONSENSE": "1"})
    trial.run("n1: create")
    for action in ("attach", "detach", "attach", "detach", "remove"):
        call = trial.call(action, probe=nonsense)
        if not call.ok:
            raise Failed(str(call))


@theme.required(GANETI)
def names_of_disks_do_not_matter(trial: Trial) -> None:
    """A disk's own name is any text that an administrator typed, and changes nothing."""
    trial.volume().cname = "system disk; $(exit 1) `exit 1` 'x\" ../*"
    trial.run("n1: create attach open(X) setinfo write read detach attach detach remove")


@theme.strict()
def foreign_variables_do_not_matter(trial: Trial) -> None:
    """Variables that are nobody's business change nothing."""
    strange = Probe(
        changes={
            "PYTHONHOME": "/nonexistent",
            "PYTHONSTARTUP": "/nonexistent",
            "LD_LIBRARY_PATH": "/nonexistent",
            "IFS": "x",
            "BASH_ENV": "/nonexistent",
            "VOL_SOMETHING_NEW": "1",
            "TMPDIR": "/nonexistent",
        }
    )
    for action in ("create", "attach", "detach", "remove"):
        call = trial.call(action, probe=strange)
        if not call.ok:
            raise Failed(str(call))


@theme.strict()
def help_is_given(trial: Trial) -> None:
    """--help prints a usage text and succeeds; other arguments are refused, since Ganeti gives none."""
    call = trial.call("attach", probe=Probe(arguments=["--help"]))
    if not call.ok or "usage" not in call.text.lower():
        raise Failed(f"attach --help: {call}")
    call = trial.call("attach", probe=Probe(arguments=["surplus"]))
    if call.ok:
        raise Failed("attach with a surplus argument succeeded")
