"""Where an import comes from: the lines of a file, which can be read again from any of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from convo.errors import InvalidFile
from convo.formats.base import Line

MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is read: two texts of the largest size that is kept, escaped character by character."""

Given = str | os.PathLike[str] | BinaryIO
"""The path of a file, or a stream of bytes."""


class Source:
    """A file of lines; one that cannot be read again is copied, for its user's eyes only, until it is closed."""

    def __init__(self, given: Given) -> None:
        """Open a path, or take a stream, which stays its owner's.

        Raises:
            InvalidFile: it cannot be read.
        """
        self.name = os.fspath(given) if isinstance(given, str | os.PathLike) else getattr(given, "name", "stream")
        with contextlib.ExitStack() as stack, self._translated():
            file = stack.enter_context(open(given, "rb")) if isinstance(given, str | os.PathLike) else given  # noqa: PTH123
            if not file.seekable():
                kept = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, kept)
                file = kept
            self._start = 0 if file is not given else file.tell()
            self.size_bytes = file.seek(0, os.SEEK_END) - self._start
            self._file = file
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close what was opened here."""
        self._stack.close()

    def lines(self, offset: int = 0, number: int = 1) -> Iterator[tuple[int, Line]]:
        """Yield the lines from one on, that begins at `offset` and has that number; each with the offset behind it.

        One reader at a time: a new one takes the place from the one before.

        Raises:
            InvalidFile: it cannot be read, or a line is longer than MAX_LINE_BYTES.
        """
        with self._translated():
            while True:
                self._file.seek(self._start + offset)
                content = self._file.readline(MAX_LINE_BYTES + 1)
                if not content:
                    return
                if len(content) > MAX_LINE_BYTES:
                    raise InvalidFile(f"line {number} of {self.name} has more than {MAX_LINE_BYTES:,} bytes: split it")
                offset += len(content)
                yield offset, Line(number, content.removesuffix(b"\n"))
                number += 1

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidFile(f"{self.name} cannot be read ({error.strerror}): name another file") from error
