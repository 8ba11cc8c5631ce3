# SPDX-License-Identifier: Apache-2.0
"""What runs on a node: makes it have what a request says, wholly or not at all.

These modules are sent to the node (see ``nodes.program``) and run there by ``/usr/bin/python3
-IS``, so they import nothing but the standard library and each other. A tar archive follows them on
standard input; the answer, a JSON document, is all that they print.

The library and the provider directories of one version are one tree, a *release*::

    /usr/local/lib/ganeti-extstorage/0.1.0-1f0c9a7be3d2/   the tree, never changed once it has its name
    /usr/local/lib/ganeti-extstorage/current               a link to the release in use
    /usr/local/lib/ganeti/extstorage/file                  a link to current/providers/file

so one rename switches all of it, and a script that runs meanwhile goes on in the tree that it came
from. Everything is written beside its place first, and proved there by the new ``verify``; what
then switches is a row of renames. An agent that is killed before the row leaves the old, after it
the new; in between each file is the one or the other, in an order in which either library works,
and the next run finishes it.
"""
