#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A provider as somebody might write it in an afternoon: the seven scripts that Ganeti requires, and no
# more. It shows that the conformance suite works on providers that are not ours. TOY_DIR holds the
# volumes; this node's loop devices are noted in TOY_NODE_DIR.
set -eu
exec 3>&1 >/dev/null
die() { echo "toy: $*" >&2; exit 1; }
name=${VOL_NAME:?VOL_NAME is not set}
case $name in */* | .* | '') die "bad name" ;; esac
disk=$TOY_DIR/$name note=$TOY_NODE_DIR/$name
mkdir -p "$TOY_NODE_DIR"

case ${0##*/} in
create)
    case ${VOL_SIZE:?VOL_SIZE is not set} in *[!0-9]* | 0 | ????????????*) die "bad size" ;; esac
    [ ! -e "$disk" ] || die "$name exists"
    truncate -s "${VOL_SIZE}M" "$disk"
    ;;
attach)
    [ -e "$disk" ] || die "there is no $name"
    [ -e "$note" ] || losetup --direct-io=on --find --show "$disk" >"$note"
    cat "$note" >&3
    ;;
detach)
    [ -e "$note" ] || exit 0
    losetup --detach "$(cat "$note")"
    rm "$note"
    ;;
remove) rm -f "$disk" ;;
grow)
    truncate -s "${VOL_NEW_SIZE:?VOL_NEW_SIZE is not set}M" "$disk"
    [ ! -e "$note" ] || losetup --set-capacity "$(cat "$note")"
    ;;
setinfo | verify) ;;
*) die "no such script" ;;
esac
