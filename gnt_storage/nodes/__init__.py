# SPDX-License-Identifier: Apache-2.0
"""The nodes of the cluster: which there are, and how a command runs on many of them."""
