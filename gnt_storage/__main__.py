# SPDX-License-Identifier: Apache-2.0
"""``python3 -m gnt_storage``."""

from gnt_storage.main import main

main()
