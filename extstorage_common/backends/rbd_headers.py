# SPDX-License-Identifier: Apache-2.0
"""What the header of an image says, and where it is listed: asked of the OSD itself.

Ceph's library opens an image in a dozen steps, to be ready for input and output; that would be most of a
call's time. The methods called here are those of the OSD's class ``rbd`` that the kernel's client calls,
too, so requests and answers are the same in all releases: integers are little-endian, a text has its
length in front.
"""

from __future__ import annotations

from extstorage_common.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.backends.rbd_client import Client


HEAD = (2**64 - 2).to_bytes(8, "little")
"""CEPH_NOSNAP: the image itself, and no snapshot."""
READ_ONLY = b"\1"
TRASHED = "id_"
NORMAL, MOVING = b"\0", b"\1"
"""The state of an image in the trash (TRASH_IMAGE_STATE_NORMAL and so on)."""
LARGEST = 1 << 16


class Header:
    """An image's id, size in bytes and features, and what its metadata have under one key (or None)."""

    def __init__(self, image: str, size: int, features: int, text: str | None) -> None:
        self.image = image
        self.size = size
        self.features = features
        self.text = text


def read(client: Client, name: str, key: str) -> Header | None:
    """The header of image ``name``, with what its metadata have under ``key``; None if there is no image."""
    image = image_id(client, name)
    if image is None:
        return None
    size = _ask(client, _object(image), "get_size", HEAD)
    features = _ask(client, _object(image), "get_features", HEAD + READ_ONLY)
    if size is None or features is None:
        return None
    text = _ask(client, _object(image), "metadata_get", _text(key))
    return Header(
        image,
        size=int.from_bytes(size[1:9], "little"),  # in front of it is the order of the objects
        features=int.from_bytes(features[:8], "little"),  # behind them are the incompatible ones again
        text=None if text is None else _text_of(text),
    )


def image_id(client: Client, name: str) -> str | None:
    """The id of image ``name``; None if there is no image."""
    found = _ask(client, f"rbd_id.{name}", "get_id", b"")
    return None if found is None else _text_of(found)


def write_metadata(client: Client, image: str, key: str, text: str) -> None:
    """Set one key of an image's metadata, of an image that nobody can have opened yet."""
    entry = (1).to_bytes(4, "little") + _text(key) + _text(text)
    with client.answers("writing the image's metadata"):
        client.ioctx.execute(_object(image), "rbd", "metadata_set", entry)


def listed_id(client: Client, name: str) -> str | None:
    """The id of the image that the pool's directory lists as ``name``; None if it does not."""
    found = _ask(client, "rbd_directory", "dir_get_id", _text(name))
    return None if found is None else _text_of(found)


def trashed(client: Client) -> list[str]:
    """The ids of the images in the trash, also of those that Ceph's Python package can't list (migrating)."""
    keys = client.map_keys("rbd_trash")
    return [key.removeprefix(TRASHED) for key in keys if key.startswith(TRASHED)]


def finish_move(client: Client, image: str, name: str) -> None:
    """Finish moving an image, whose name is gone already, to the trash; a killed call left that half-done.

    Ceph writes to the trash that the image is on its way, then removes its name, its entry in the directory,
    and that note. It refuses to purge what has it, and to make an image whose name the directory lists.
    """
    for name_of, method, argument in (
        ("rbd_directory", "dir_remove_image", _text(name) + _text(image)),
        ("rbd_trash", "trash_state_set", _text(image) + NORMAL + MOVING),
    ):
        try:
            with client.answers("finishing a move to the trash"):
                client.ioctx.execute(name_of, "rbd", method, argument)
        except (client.rados.Error, Refused):
            pass  # it is not so any more; else Ceph refuses what is wanted next


def _object(image: str) -> str:
    return f"rbd_header.{image}"


def _ask(client: Client, name: str, method: str, argument: bytes) -> bytes | None:
    """What a method answers; None if the object, or what was asked for, is not there."""
    ioctx = client.ioctx
    try:
        with client.answers(f"asking {name}"):
            _, output = ioctx.execute(name, "rbd", method, argument, LARGEST)
    except client.rados.ObjectNotFound:
        return None
    return bytes(output)


def _text(text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return len(content).to_bytes(4, "little") + content


def _text_of(answer: bytes) -> str:
    return answer[4 : 4 + int.from_bytes(answer[:4], "little")].decode("utf-8", "surrogateescape")
