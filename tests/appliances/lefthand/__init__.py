# SPDX-License-Identifier: Apache-2.0
"""A model of an HP LeftHand (P4000, StoreVirtual) management group and its command line, CLIQ.

It keeps state: what a command changes, the next one sees, and what the array would refuse is refused
with its words and codes. The facts that nobody could confirm are fields of ``facts.Facts``.
"""
