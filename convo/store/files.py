"""The files of an SQLite store: where they may lie, who may read them, and whether there is room for more.

The database file itself is only ever looked at by name: to open and close it would drop SQLite's own locks on it
(POSIX advisory locks; https://sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from convo.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable

if sys.platform != "win32":
    import fcntl
    import resource

ROOM_BYTES = 2**20
"""With less than this left, a write that failed is taken to have failed for want of space."""

_HANDLES = Path("/dev/fd")

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)

_MOUNTS = Path("/proc/self/mountinfo")

_OF_NETWORKS = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs")
)
"""Where a write-ahead log cannot work, as its index is memory that all writers share: https://sqlite.org/wal.html."""

_LOCAL_FUSE = ("fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs")


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_LEAVE = (errno.EACCES, errno.EPERM, errno.EROFS)


def create(path: Path) -> None:
    """Create a database file for its user's eyes only, with the folder it lies in, where it is missing.

    Raises:
        StoreUnavailable: the path is a folder, or the file cannot be created.
        StoreFull: there is no room for it.
    """
    try:
        if path.is_dir():
            raise StoreUnavailable(f"{path} is a folder: name a file in it, such as {path / 'convo.db'}")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(path, error) from error
        raise StoreUnavailable(f"{path} cannot be created ({error.strerror}): name another place") from error


def open_beside(path: Path, database: Path) -> int:
    """Open a file that belongs to a store, for everybody who may write its database; create it where it is missing.

    Raises:
        StoreReadOnly: it may not be opened, and so the store cannot be written.
        StoreFull: there is no room for it.
        StoreUnavailable: it cannot be opened for another reason.
    """
    try:
        if path.parent != database.parent:
            _make_folder(path.parent, database)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            return os.open(path, os.O_CREAT | os.O_RDWR | _NO_LINK, 0o600)
        _share(handle, database, 0o666)
    except OSError as error:
        raise _refusal(path, error) from error
    return handle


def _refusal(path: Path, error: OSError) -> StoreError:
    """Return convo's error for a file beside the database that cannot be opened."""
    what = f"the store cannot be written: {path} cannot be opened ({error.strerror})"
    if error.errno in _NO_ROOM:
        return _full(path, error)
    if error.errno in _NO_LEAVE:
        return StoreReadOnly(f"{what}: make its folder writable, or name another store")
    return StoreUnavailable(f"{what}: see what is in its place, or name another store")


def _full(path: Path, error: OSError) -> StoreFull:
    return StoreFull(f"{path} cannot be created ({error.strerror}): free some space and try again")


def _make_folder(folder: Path, database: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    if sys.platform != "win32":
        handle = os.open(folder, os.O_DIRECTORY | _NO_LINK)
        _share(handle, database, 0o777)
        os.close(handle)


def _share(handle: int, database: Path, most: int) -> None:
    """Let those use a new file or folder who may use the database, as SQLite does with its own.

    By its handle: what stands under its name may be another's by now, and root would give that away.
    """
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # there is no database, or a file system without modes: it keeps to its user
        of = database.stat()
        read = of.st_mode & 0o444
        os.fchmod(handle, (stat.S_IMODE(of.st_mode) | read >> 2) & most | 0o600)
        os.fchown(handle, of.st_uid if os.geteuid() == 0 else -1, of.st_gid)


def is_inherited(database: Path) -> bool:
    """Return whether this process has the file open, whoever opened it; for a child, right after the fork."""
    try:
        wanted = database.stat()
        handles = [int(each) for each in os.listdir(_HANDLES)]  # noqa: PTH208 - of numbers, not of paths
    except OSError:
        return False
    for handle in handles:
        with contextlib.suppress(OSError):
            found = os.fstat(handle)
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def lock_now(handle: int) -> bool:
    """Take the lock on an open file unless another handle has it; the kernel frees it when its process dies."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_shared_now(handle: int) -> bool:
    """Take a share of the lock on an open file unless another handle has it whole: any number may look so at once."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(handle: int) -> None:
    """Let go of the lock on an open file."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # there are none here
            fcntl.flock(handle, fcntl.LOCK_UN)


def is_full(database: Path) -> bool:
    """Return whether a write failed for want of space, or of leave to use more.

    SQLite reports a quota and the limit on a file's size (RLIMIT_FSIZE) as I/O errors.
    """
    if sys.platform == "win32":
        return False
    try:
        room = os.statvfs(database.parent)
    except OSError:
        return False
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    largest = max(_size(database), _size(Path(f"{database}-wal")))
    at_limit = limit != resource.RLIM_INFINITY and largest + ROOM_BYTES > limit
    return room.f_bavail * room.f_frsize < ROOM_BYTES or at_limit


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def refuse_network(database: Path) -> None:
    """Raise StoreUnavailable when the file lies on a file system that other hosts share.

    Only Linux tells. There is no way round: with two hosts the file would be damaged, and what looks like one host
    today is two tomorrow.
    """
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = kind_of_file_system(database, mounts)
    if is_of_network(kind):
        raise StoreUnavailable(
            f"{database} lies on a network file system ({kind}), where SQLite would lose data: "
            "name a place on a local disk, or use PostgreSQL"
        )


def kind_of_file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system of `path` by the text of /proc/self/mountinfo; "" when it does not tell.

    https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    on_the_way = [each for each in _mounts(mounts) if path.is_relative_to(each.point)]
    numbers = {each.number for each in on_the_way}
    here = [each for each in on_the_way if each.parent not in numbers - {each.number}]
    kind = ""
    while here:
        # As the kernel walks: the first mount on the way hides those that lie deeper on the same file system.
        first = min(here, key=lambda each: len(each.point.parts))
        kind = first.kind
        here = [each for each in on_the_way if each.parent == first.number != each.number]
    return kind


class _Mount(NamedTuple):
    number: str
    parent: str
    point: Path
    kind: str


def _mounts(text: str) -> Iterator[_Mount]:
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4:
            yield _Mount(fields[0], fields[1], Path(_unescaped(fields[4])), after.split(" ")[0])


def is_of_network(kind: str) -> bool:
    """Return whether a type of file system is one that several hosts can write; of FUSE all that are not known."""
    return kind in _OF_NETWORKS or (kind.split(".", maxsplit=1)[0] == "fuse" and kind not in _LOCAL_FUSE)


def _unescaped(field: str) -> str:
    """Return a mount point as it is: the kernel writes spaces, tabs, line ends and backslashes as octal numbers."""
    for code in ("040", "011", "012", "134"):
        field = field.replace(f"\\{code}", chr(int(code, 8)))
    return field
