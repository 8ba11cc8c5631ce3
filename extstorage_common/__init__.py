# SPDX-License-Identifier: Apache-2.0
"""The library behind every storage provider of ganeti-extstorage."""

__version__ = "0.1.0"
