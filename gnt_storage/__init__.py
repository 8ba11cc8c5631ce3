# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage``, the administrator's command."""
