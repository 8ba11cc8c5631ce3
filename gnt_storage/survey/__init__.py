# SPDX-License-Identifier: Apache-2.0
"""What each node has of the providers, taken in one command a node, and what is wrong with it."""
