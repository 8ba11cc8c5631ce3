# SPDX-License-Identifier: Apache-2.0
"""The language of the conformance suite."""

from __future__ import annotations

import pytest

from gnt_storage.conformance.notation import NotationError, Step, nodes_needed, parse, scripts_used


def test_steps() -> None:
    assert parse("n1: create attach open(S)[snap]? n2: attach!*2 write") == (
        Step(1, "create"),
        Step(1, "attach"),
        Step(1, "open", "snap", exclusive=False, may_refuse=True),
        Step(2, "attach", must_fail=True),
        Step(2, "attach", must_fail=True),
        Step(2, "write"),
    )


@pytest.mark.parametrize("text", ["attach", "n1: nosuch", "n1: attach(X)", "n1: write!", "n1: open(Q)"])
def test_what_is_no_notation(text: str) -> None:
    with pytest.raises(NotationError):
        parse(text)


def test_what_a_text_needs() -> None:
    assert nodes_needed("n1: attach", "n3: close read") == 3
    assert scripts_used("n1: attach read", "n3: close") == {"attach", "close"}
