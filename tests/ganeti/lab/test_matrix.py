# SPDX-License-Identifier: Apache-2.0
"""Those rows of the matrix that are run here, too, where each of Ganeti's commands takes some seconds.

They are the tests above, for the providers of this cluster; not those of them that are about Ganeti or about
the workflow alone, which is the same for all providers.
"""

from tests.ganeti.test_copies import test_backup
from tests.ganeti.test_disks import test_disks, test_grow
from tests.ganeti.test_failing import test_grow as test_failing_grow
from tests.ganeti.test_failing import test_start_of_what_another_holds
from tests.ganeti.test_life import test_names_and_contents, test_recreate, test_stop_and_start
from tests.ganeti.test_migration import test_dead_node, test_migration_of_a_machine
