# SPDX-License-Identifier: Apache-2.0
import sys

from tests.appliances.command import main_ssh
from tests.appliances.echo import Echo

sys.exit(main_ssh(Echo, "An appliance that says each line again."))
