"""Where an export goes: a file that is written whole or not at all, a folder of such files, or an open stream."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from convo.errors import InvalidFile


class Stream(Protocol):
    """What bytes can be written to."""

    def write(self, content: bytes, /) -> object:
        """Take some bytes."""


Target = str | os.PathLike[str] | Stream
"""The path of a file or of a folder, or a stream of bytes."""


class Sink:
    """A stream that is written to, and how much was."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
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
    with _translated(path, "written"), _special(path) or whole(path) as file:
        yield Sink(file)


def _special(path: Path) -> BinaryIO | None:
    """Return a pipe or a device, opened; None for what is, or will be, a file."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            return path.open("wb")
    return None


@contextlib.contextmanager
def whole(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """Yield a new file for its user's eyes only, which takes the place of what `path` names when all went well.

    It lies beside it until then, and is gone when something went wrong. `check` is called before it takes the place.

    Raises:
        OSError: the file cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder", str(path))
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check()
        os.replace(made, path)  # noqa: PTH105 - a name, as mkstemp() gives it
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)  # noqa: PTH108 - as above
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make a new name durable, where folders can be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
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
