# SPDX-License-Identifier: Apache-2.0
"""The conformance suite: does a provider directory do what Ganeti needs of it?

It works on any provider, ours or not, because it knows nothing of a provider but its directory:

- ``engine`` calls the executables exactly as Ganeti's node daemon does, on one or several nodes;
- ``notation`` is the short language in which calls are written down (``n1: create attach open(X)``);
- ``sequences`` holds the calls that Ganeti makes for each of its commands, in that notation;
- ``cases`` holds everything else that the interface asks for, one rule a case;
- ``trial`` is what a case works with: volumes, calls, looks at devices, and cleaning up;
- ``suite`` runs cases and collects results.
"""
