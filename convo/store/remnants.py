"""Looks for pieces of text in files. This one is run by a process of its own and imports nothing of convo's.

A process that opened a database file and closed it again would lose SQLite's own locks on it (POSIX advisory locks;
https://sqlite.org/howtocorrupt.html, section 2.2), those of other connections and threads included.

Standard input is JSON: `files`, paths, and `pieces`, in hexadecimal, of 8 bytes at least. Standard output is JSON:
`sizes`, of the files that are there by path, and `found`, how often each piece that is there stands in them, by index.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence

BLOCK_BYTES = 2**20
WORD_BYTES = 8

FEW = 200
"""Up to so many pieces are looked for one by one, 0.2 ms a megabyte and piece; more by their first words, 50 ms a
megabyte, and up to 150 ms where much begins as they do."""


class Pieces:
    """What is looked for."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.longest = max(map(len, pieces), default=1)
        self._pieces = pieces
        self._by_word: dict[int, dict[int, dict[bytes, int]]] = {}
        for index, piece in enumerate(pieces):
            alike = self._by_word.setdefault(int.from_bytes(piece[:WORD_BYTES], sys.byteorder), {})
            alike.setdefault(len(piece), {})[piece] = index

    def found_in(self, path: str) -> tuple[int, dict[int, int]]:
        """Return the size of a file, and how often each piece stands in it, by index; one block is held at a time."""
        counts: dict[int, int] = {}
        size, kept = 0, b""
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - it starts more quickly without pathlib
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                text = kept + block
                kept = text[max(len(text) - self.longest + 1, 0) :]
                for index, place in self._places(text):
                    if place < len(text) - len(kept):  # else it is met again, at the beginning of what comes next
                        counts[index] = counts.get(index, 0) + 1
        for index, _ in self._places(kept):
            counts[index] = counts.get(index, 0) + 1
        return size, counts

    def _places(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the index of each piece that stands in `text`, and where."""
        if len(self._pieces) <= FEW:
            for index, piece in enumerate(self._pieces):
                place = text.find(piece)
                while place >= 0:
                    yield index, place
                    place = text.find(piece, place + 1)
            return
        for shift in range(min(WORD_BYTES, len(text))):
            words = memoryview(text)[shift : len(text) - (len(text) - shift) % WORD_BYTES].cast("Q")
            for number in itertools.compress(
                itertools.count(), map(self._by_word.__contains__, words)
            ):  # at the speed of C
                place = shift + WORD_BYTES * number
                for length, pieces in self._by_word[words[number]].items():
                    if (found := pieces.get(text[place : place + length])) is not None:
                        yield found, place


def main() -> None:
    """Do what is asked for on standard input."""
    asked = json.load(sys.stdin)
    pieces = Pieces([bytes.fromhex(each) for each in asked["pieces"]])
    sizes: dict[str, int] = {}
    found: dict[int, int] = {}
    for path in asked["files"]:
        try:
            sizes[path], counts = pieces.found_in(path)
        except FileNotFoundError:
            continue
        for index, count in counts.items():
            found[index] = found.get(index, 0) + count
    json.dump({"sizes": sizes, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
