# SPDX-License-Identifier: Apache-2.0
"""A Solaris or illumos machine with ZFS and COMSTAR, as a client sees it over SSH."""
