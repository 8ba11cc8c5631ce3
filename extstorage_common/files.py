# SPDX-License-Identifier: Apache-2.0
"""Thin functions over the filesystem, and what its errors mean."""

from __future__ import annotations

import errno
import fcntl
import os

from extstorage_common import records
from extstorage_common.errors import PoolUnreachable, StorageFull, SystemRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.deadline import Deadline

FICLONE = 0x40049409
"""linux/fs.h: make one file share all blocks of another (ioctl_ficlone(2))."""
COPY_STEP = 64 << 20

_AWAY = frozenset({errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENXIO})


class Refusals:
    """A block in which an OSError becomes an error of ours.

    With a ``pool`` named it is PoolUnreachable; else, by the error's number, PoolUnreachable, StorageFull, or
    SystemRefused for ``what`` was being done.
    """

    def __init__(self, what: str, pool: str) -> None:
        self.what = what
        self.pool = pool

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        reason = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        if self.pool or error.errno in _AWAY:
            raise PoolUnreachable(pool=self.pool or "the pool", reason=reason) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(what=self.what, reason=reason) from error
        raise SystemRefused(what=self.what, reason=reason) from error


def refusals(what: str) -> Refusals:
    """A block of changes: what fails was refused (or the storage is away, or full)."""
    return Refusals(what, "")


def unreachable(pool: str) -> Refusals:
    """A block of questions: what fails says that ``pool`` does not answer."""
    return Refusals("", pool)


def write_new(path: str, content: bytes) -> None:
    """Write a file that must not exist, in one step. Raises FileExistsError.

    A link, not a rename, since that fails where the name is taken.
    """
    temporary = records.write_beside(path, content)
    try:
        os.link(temporary, path)
    finally:
        os.unlink(temporary)
    records.sync_directory(os.path.dirname(path))


def discard_directory(path: str) -> None:
    """Remove a directory with its files; one that is gone already is fine.

    It is renamed first, so that of two nodes only one does it, and its name is free at once.
    """
    parent = os.path.dirname(path)
    debris = os.path.join(parent, f".debris-{os.urandom(6).hex()}")
    try:
        os.rename(path, debris)
    except FileNotFoundError:
        return
    for name in os.listdir(debris):
        os.unlink(os.path.join(debris, name))
    os.rmdir(debris)
    records.sync_directory(parent)


def clone(source: int, target: int) -> bool:
    """Let ``target`` share all of ``source``'s blocks; False where the filesystem can't."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS):
            return False
        raise
    return True


def used_bytes(fd: int) -> int:
    """Bytes that a sparse file really uses."""
    return os.fstat(fd).st_blocks * 512


def copy_sparse(source: int, target: int, deadline: Deadline) -> None:
    """Copy all data; holes stay holes."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, end, deadline)


def _copy_range(source: int, target: int, start: int, end: int, deadline: Deadline) -> None:
    while start < end:
        deadline.check("copying the volume")
        copied = os.copy_file_range(source, target, min(COPY_STEP, end - start), start, start)
        if not copied:
            raise OSError(errno.EIO, "the file ended early")
        start += copied
