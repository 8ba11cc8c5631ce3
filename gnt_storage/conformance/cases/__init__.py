# SPDX-License-Identifier: Apache-2.0
"""Every case of the suite, in the order in which they are run."""

from __future__ import annotations

from gnt_storage.conformance import sequences
from gnt_storage.conformance.case import Case
from gnt_storage.conformance.cases import away, data, directory, holding, output, repetition, requests

ALL: tuple[Case, ...] = (
    *directory.theme.cases,
    *output.theme.cases,
    *requests.theme.cases,
    *repetition.theme.cases,
    *data.theme.cases,
    *holding.theme.cases,
    *away.theme.cases,
    *sequences.CASES,
)
