"""What text may enter the store, and what it looks like on a terminal.

The same text must come back unchanged from SQLite and from PostgreSQL, and must never make a conversation unusable:
a NUL or a lone surrogate is accepted by one layer and refused by the next (PostgreSQL has no NUL in text, no UTF-8
encoder takes a lone surrogate). So one function stands at every entrance. Everything else is kept as it is, byte for
byte: no normalisation, line ends, byte order marks and control characters included; only showing them escapes them.
"""

from __future__ import annotations

import re

from convo.errors import InvalidText

MAX_TEXT_BYTES = 4 * 1024 * 1024
"""The largest text, in UTF-8 bytes: about a million tokens, the window of the largest models of 2026."""

REPLACEMENT = "\ufffd"

_SURROGATE = re.compile("[\ud800-\udfff]")
_REFUSED = re.compile("[\x00\ud800-\udfff]")
# A NUL, or half of a surrogate pair without the other half.
_LONE = re.compile("\x00|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")

# C0 except tab and newline, DEL, C1, the bidirectional controls (Unicode TR 36, section 3.2) and the line separators.
ACTIVE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""The characters that act instead of being seen, as what stands between the brackets of a regular expression."""

_ACTIVE = re.compile(f"[{ACTIVE}]")


def clean_text(text: str, what: str = "text") -> str:
    """Return `text` as it may be stored; `what` names it in errors.

    Surrogate halves that form a character become that character.

    Raises:
        TypeError: not a string.
        InvalidText: a NUL, a lone surrogate, or more than MAX_TEXT_BYTES.
    """
    if not isinstance(text, str):
        msg = f"{what} must be a string, not {type(text).__name__}"
        raise TypeError(msg)
    if _REFUSED.search(text):
        if refused := _LONE.search(text):
            name = "a NUL character" if refused[0] == "\0" else "a lone surrogate"
            raise InvalidText(f"{what} has {name} at position {refused.start()}: remove it", position=refused.start())
        text = _pair_surrogates(text)
    return _within_cap(text, what)


def clean_message(text: str, what: str = "message") -> str:
    """Return `text` as clean_text() does; blank text is InvalidText too, as no model API takes an empty turn."""
    text = clean_text(text, what)
    if not text.strip():
        raise InvalidText(f"{what} is empty: give it some text")
    return text


def repair_text(text: str) -> tuple[str, int]:
    """Return what a model wrote as it may be stored, and how many characters had to be replaced by U+FFFD.

    A reply that was paid for is kept rather than refused.

    Raises:
        InvalidText: more than MAX_TEXT_BYTES.
    """
    if not text.isascii() and _SURROGATE.search(text):
        text = _pair_surrogates(text)
    text, repaired = _REFUSED.subn(REPLACEMENT, text)
    return _within_cap(text, "reply"), repaired


def inert(text: str) -> str:
    r"""Return `text` so that it cannot act on a terminal: control characters as visible escapes (``\x1b``).

    Tabs and newlines stay; a reader still sees where something was.
    """
    return _ACTIVE.sub(lambda found: escape(found[0]), text)


def escape(character: str) -> str:
    r"""Return a character by its code point, as Python writes it: ``\x1b``, ``\u202e``, ``\U0001fffe``."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _pair_surrogates(text: str) -> str:
    """Join surrogate halves that stand beside each other; JSON escapes produce them (RFC 8259, section 7)."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _within_cap(text: str, what: str) -> str:
    # A character takes at most four bytes: most texts need no encoding to be measured.
    if len(text) * 4 > MAX_TEXT_BYTES:
        size_bytes = len(text.encode())
        if size_bytes > MAX_TEXT_BYTES:
            raise InvalidText(f"{what} has {size_bytes:,} bytes, and at most {MAX_TEXT_BYTES:,} can be kept: split it")
    return text
