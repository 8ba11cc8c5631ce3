# SPDX-License-Identifier: Apache-2.0
"""What exports a volume of this machine to others: one module a kind of target."""
