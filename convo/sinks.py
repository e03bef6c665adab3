"""Where an export goes: a file that is written whole or not at all, a folder of such files, or an open stream."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from convo.errors import InvalidFile


class Stream(Protocol):
    """What bytes can be written to."""

    def write(self, content: bytes, /) -> object:
        """Take some bytes."""


Target = str | os.PathLike[str] | Stream
"""The path of a file or of a folder, or a stream of bytes."""


class Sink:
    """A stream that is written to, and how much was."""

    def __init__(self, stream: Stream, *, is_kept_back: bool = False) -> None:
        self._stream = stream
        self.is_kept_back = is_kept_back
        """Whether nobody sees it before it is whole."""
        self.size_bytes = 0

    def write(self, text: str) -> None:
        """Write a text, as UTF-8."""
        content = text.encode()
        self.size_bytes += len(content)
        self._stream.write(content)


def folder_of(target: Target) -> Path | None:
    """Return the folder that is meant, which may not be there yet; None when none is."""
    if not isinstance(target, str | os.PathLike):
        return None
    named = os.fspath(target)
    path = Path(named)
    return path if path.is_dir() or named.endswith(("/", os.sep)) else None


def file_name_of(target: Target) -> str:
    """Return the name of the file that is meant; "" for a stream, and for a folder, whose name tells of no form."""
    if not isinstance(target, str | os.PathLike) or folder_of(target) is not None:
        return ""
    return os.fspath(target)


def make_folder(folder: Path) -> None:
    """Make a folder, for its user's eyes only, where it is missing.

    Raises:
        InvalidFile: it cannot be made.
    """
    with _translated(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextlib.contextmanager
def opened(target: Target) -> Iterator[Sink]:
    """Yield where to write: a stream as it is; a file takes its place when it is whole, and else is not there.

    Raises:
        InvalidFile: it cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        yield Sink(target)
        return
    path = Path(target)
    special = _special(path)
    if special is not None:
        with _translated(path, "written"), special.open("ab") as stream:
            yield Sink(stream)
        return
    with taking_its_place(path) as made, made.open("wb") as file:
        yield Sink(file, is_kept_back=True)


def _special(path: Path) -> Path | None:
    """Return the path of a pipe, a device or an open file (/dev/stdout); None for what is, or will be, a file.

    An open file is written to as it was opened: in its place, and behind what it has. The name is the system's, and
    nobody's to replace.
    """
    with contextlib.suppress(OSError):
        if path.is_dir():
            return None
        if not stat.S_ISREG(path.stat().st_mode) or _is_of_the_system(path.parent.resolve()):
            return path
    return None


def _is_of_the_system(folder: Path) -> bool:
    """Return whether the names in a folder are those of devices and open files; /dev/shm has files like any other."""
    return folder in (Path("/dev"), Path("/dev/fd")) or folder.is_relative_to("/proc")


@contextlib.contextmanager
def taking_its_place(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file for its user's eyes only, which takes the place of `path` when all went well.

    It lies beside it until then, and is gone when something went wrong. What is in it is on the disk then.

    Raises:
        InvalidFile: it cannot be written there.
    """
    with _translated(path, "written"):
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder", str(path))
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        os.close(handle)
        made = Path(name)
        try:
            yield made
            _sync(made)
            made.replace(path)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Let a file, or the names in a folder, be on the disk; not every system can open folders."""
    if path.is_dir() and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidFile(f"{path} cannot be {what} ({error.strerror}): name another place") from error
