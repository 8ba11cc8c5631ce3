# SPDX-License-Identifier: Apache-2.0
import sys

from tests.appliances.command import main_ssh
from tests.appliances.lefthand.array import LeftHand

if __name__ == "__main__":
    sys.exit(main_ssh(LeftHand, "A modelled HP LeftHand array: CLIQ over SSH."))
