# SPDX-License-Identifier: Apache-2.0
"""Modelled arrays that export real disks in a lab: one lab for all of them, and the same tests for each."""
