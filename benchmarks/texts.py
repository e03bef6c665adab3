"""What the users and the models of the benchmarks say: English words, the same in each run and for each system."""

from __future__ import annotations

from collections.abc import Iterator

LIMIT = 4096
"""How many tokens a prompt may have."""

QUESTION_WORDS, ANSWER_WORDS = 30, 60

VARIETY = 64
"""How many different beginnings of the words there are; each text has its number in front, and so is unlike all."""

_WORDS = """
the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number way could people than
first water been call who now find long down day did get come made may part weather holiday question remember
probably translate something important document explanation understand another different because government
""".split()  # noqa: SIM905 - two hundred quotation marks would not make it plainer


def question(number: int) -> str:
    """Return what the user says at turn `number`."""
    return f"{number}: {_beginnings(QUESTION_WORDS)[number % VARIETY]}?"


def answer(number: int) -> str:
    """Return what the model says at turn `number`."""
    return f"{number}: {_beginnings(ANSWER_WORDS)[number % VARIETY]}."


def history(messages: int) -> Iterator[str]:
    """Yield the texts of a conversation of so many messages: the user's and the model's by turns."""
    for position in range(messages):
        yield (answer if position % 2 else question)(position // 2)


def tokens(text: str) -> int:
    """Return about how many tokens a text has, as systems without a tokenizer reckon it."""
    return len(text) // 4 + 1


_MADE: dict[int, list[str]] = {}


def _beginnings(words: int) -> list[str]:
    # Made once, and not with `random`, whose import would count as the systems' own time to start.
    if words not in _MADE:
        state, texts = words, []
        for _ in range(VARIETY):
            said = []
            for _ in range(words - 1):
                state = (state * 1103515245 + 12345) % 2**31
                said.append(_WORDS[(state >> 16) % len(_WORDS)])
            texts.append(" ".join(said))
        _MADE[words] = texts
    return _MADE[words]
