# SPDX-License-Identifier: Apache-2.0
"""How a backend talks to what it manages: commands of this machine, or a controller over OpenSSH."""
