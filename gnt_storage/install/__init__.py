# SPDX-License-Identifier: Apache-2.0
"""Putting the suite on nodes and taking it off again.

``payload`` gathers what a node shall have, ``agent`` is what runs there, ``report`` what came of it.
"""
