# SPDX-License-Identifier: Apache-2.0
"""The commands of ``gnt-storage``: one module a command."""
