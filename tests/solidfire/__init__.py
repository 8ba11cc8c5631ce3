# SPDX-License-Identifier: Apache-2.0
"""The solidfire provider against the modelled cluster."""
