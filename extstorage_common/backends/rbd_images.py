# SPDX-License-Identifier: Apache-2.0
"""An image, and what makes it a volume: a record in its metadata that has the volume's name."""

from __future__ import annotations

from datetime import UTC

from extstorage_common import makers, records
from extstorage_common.backends.base import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extstorage_common.records import Record

KEY = "ganeti-extstorage"
TITLE = "volume 1"


class ImageVolume(Volume):
    """A volume, with its image's id and features and the record of what it was made with."""

    def __init__(self, name: str, size: int, image: str, features: int, record: Record) -> None:
        super().__init__(name, size)
        self.image = image
        self.features = features
        self.record = record


def record_of(image: Any, name: str) -> Record | None:
    """What the volume ``name`` was made with; None if the image is not it (a clone has its parent's)."""
    try:
        return parse(image.metadata_get(KEY), name)
    except KeyError:
        return None


def parse(text: str, name: str) -> Record | None:
    """The record that ``text`` is; None if it is another volume's."""
    record = records.parse(text.encode("utf-8", "surrogateescape"), TITLE, f"the metadata of image {name}")
    return record if record.get("name") == name else None


def is_of(image: Any, maker: Record) -> bool:
    """Whether the image came into being while this maker was at work."""
    made: float = image.create_timestamp().replace(tzinfo=UTC).timestamp()  # UTC, without saying so
    begun, until = int(maker.get("begun")), int(maker.get("until"))
    return begun - makers.CLOCK_SKEW <= made <= until + makers.CLOCK_SKEW
