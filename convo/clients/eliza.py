"""The rule-based embedded model: answers like ELIZA, from a script and from nothing but what the person said.

After J. Weizenbaum, "ELIZA—A Computer Program For the Study of Natural Language Communication Between Man And
Machine", CACM 9(1), 1966. The idea: cut the text into clauses, look each word up among the keywords, let the most
important rule take its clause apart, turn "I" and "you" round, and put the parts into the rule's next answer. What
the person said about himself or herself is kept, and brought up again when no rule finds anything.

The engine keeps nothing between calls. Which answer is next, and what is still remembered, comes from replaying the
earlier texts; so the same conversation always gets the same answer. The script is in `eliza_script`.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Final

from convo.clients import eliza_words as words
from convo.clients.eliza_script import BRIEF, CARE_FLOOR, CRISIS, MEMORABLE, REPETITION, RULES, Rule

LONGEST_CLAUSE: Final = 500  # characters; what is longer is read in pieces
LONGEST_ECHO: Final = 25  # words; nobody likes to read a whole paragraph of his own turned round
LONGEST_MEMORY: Final = 20  # words
LONGEST_WORD: Final = 40  # characters of a word in an echo
MOST_TRIES: Final = 60  # of rules on clauses, in one text
BRIEF_WORDS: Final = 2
AFTERCARE_TURNS: Final = 3
NO_RULE: Final = -1  # the rank of what is said when no rule fits
LAST_LATIN: Final = "\u024f"

CHARACTERS: Final = MappingProxyType(str.maketrans("’‘ʼ\n\r\u2028\u2029", "'''...."))
INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff\ufe00-\ufe0f]")
NOISE: Final = re.compile(r'["“”«»„()\[\]{}<>*_~`#|\\^=\U0001F000-\U0001FAFF\u2190-\u2BFF]|[:;]-?[DPp](?!\w)')
ENDS: Final = ".,;:!?…。！？、，–—"
CLAUSE: Final = re.compile(rf"((?:[^{ENDS}]|(?<=\d)[.,:](?=\d)){{1,{LONGEST_CLAUSE}}})([{ENDS}]*)")
BUT: Final = re.compile(r"\s(?:but|however|although|-+)\s", re.IGNORECASE)
NOT: Final = re.compile(r"\b(do|does|did|is|was|are|have|has|had|could|would|should) not\b", re.IGNORECASE)
HAS: Final = re.compile(r"\b(he|she|it|that|what|who)'s (?=(?:been|got|had|left|lost|taken|become) )", re.IGNORECASE)
IS: Final = re.compile(
    r"\b(he|she|it|that|there|here|what|who|where|how|when|why|name"
    r"|\w++(?='s (?:ill|sick|dying|dead|not|very|so|always|a) ))'s ",
    re.IGNORECASE,
)
PLACE: Final = re.compile(r'("?)\{(\d)\}')
EDGES: Final = "'-/&+%@"
FREE_TOKENS: Final = MappingProxyType({"*": r"(?:\S++ )*?", "+": r"((?:\S++ )+)", "*ing": r"(\S+ing )"})


def answers(texts: Sequence[str], *, count: int = 1) -> list[str]:
    """Answer the last of the user's `texts` (oldest first): at most `count` different answers, the natural one first.

    The earlier texts decide which answers are used up and what is remembered. Nothing said at all is answered like
    an empty text. All answers are non-empty and printable; a count below one gives none.
    """
    talk = Talk()
    *earlier, last = texts or ("",)
    for text in earlier:
        talk.hear(text)
    found: dict[str, None] = {}
    for option in talk.options(_read(last)):
        if len(found) >= count:
            break
        found.setdefault(option.text)
    return list(found)


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a text without punctuation: its words joined and ended by one space each, and whether it asks."""

    text: str
    asks: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A text as the rules see it."""

    clauses: tuple[Clause, ...]
    folded: str
    foreign: bool


@dataclass(frozen=True, slots=True)
class Match:
    """Answers that fit, and what may be put into them: the clause, and then its parts, all as they were said."""

    rank: int
    answers: tuple[str, ...]
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer: how urgent it is, which list it is from, its place there, and the text."""

    rank: int
    source: tuple[str, ...]
    place: int
    text: str


@dataclass(slots=True)
class Talk:
    """What is known of a conversation while it is being replayed."""

    next_place: dict[tuple[str, ...], int] = field(default_factory=dict)
    memories: deque[str] = field(default_factory=deque)
    remembered: set[str] = field(default_factory=set)
    last: str = ""
    care: int = 0
    """How many more texts are answered in the light of a crisis."""

    def hear(self, text: str) -> None:
        """Take in one of the earlier texts, and that it got its natural answer."""
        heard = _read(text)
        given = next(self.options(heard))
        urgent = given.rank == CRISIS
        self.next_place[given.source] = given.place + 1
        if given.source is words.MEMORY_ANSWERS:
            self.memories.popleft()
        if not urgent:
            self._remember(heard.clauses)
        self.care = AFTERCARE_TURNS if urgent else max(0, self.care - 1)
        self.last = heard.folded

    def options(self, heard: Heard) -> Iterator[Option]:
        """Yield everything that could be answered now, the natural answer first; never nothing."""
        for match in self._fitting(heard):
            start = self.next_place.get(match.answers, 0)
            for turn in range(len(match.answers)):
                place = (start + turn) % len(match.answers)
                if text := _fill(match.answers[place], match.parts):
                    yield Option(match.rank, match.answers, place, text)

    def _fitting(self, heard: Heard) -> Iterator[Match]:
        ranked = _matches(heard.clauses)
        first = next(ranked, None)
        rank = first.rank if first else NO_RULE
        if first and rank == CRISIS:
            # Nothing else that fits may be said now, not even as another choice.
            yield from (first, Match(NO_RULE, words.AFTERCARE_ANSWERS, ()), Match(NO_RULE, words.FALLBACKS, ()))
            return
        if heard.folded and heard.folded == self.last and not NO_RULE < rank <= BRIEF:
            yield Match(REPETITION, words.REPEAT_ANSWERS, ())
        floor = CARE_FLOOR if self.care else 0
        aside = [*self._asides(heard, rank)]
        for match in chain([first] if first else [], ranked):
            if match.rank <= floor:
                yield from aside
                aside.clear()
            yield match
        yield from aside
        # A word or two can be quoted whatever they are; a longer text is left alone.
        brief = len(heard.folded.split()) <= BRIEF_WORDS and not heard.foreign
        yield Match(NO_RULE, words.FALLBACKS, (heard.folded,) if brief else ())

    def _asides(self, heard: Heard, rank: int) -> Iterator[Match]:
        """Yield what goes before small change and before nothing: care after a crisis, then what is remembered."""
        if self.care:
            yield Match(NO_RULE, words.AFTERCARE_ANSWERS, ())
        if not heard.clauses:
            yield Match(NO_RULE, words.SILENCE_ANSWERS, ())
        if heard.foreign and rank == NO_RULE:
            yield Match(NO_RULE, words.FOREIGN_ANSWERS, ())
        if self.memories:
            yield Match(NO_RULE, words.MEMORY_ANSWERS, (self.memories[0],))

    def _remember(self, clauses: Iterable[Clause]) -> None:
        for clause in clauses:
            if clause.text not in self.remembered and _is_worth_remembering(clause):
                self.memories.append(clause.text)
                self.remembered.add(clause.text)
                return


def _read(text: str) -> Heard:
    """Cut a text into clauses, and drop all that no answer may repeat: marks, controls, halves of characters."""
    plain = INVISIBLE.sub("", text.translate(CHARACTERS))
    if not plain.isprintable():
        plain = "".join(character if character.isprintable() else " " for character in plain)
    plain = BUT.sub(". ", NOISE.sub(" ", plain))
    clauses = tuple(
        Clause(said, "?" in found[2]) for found in CLAUSE.finditer(plain) if (said := _normalised(found[1]))
    )
    letters = [character for character in plain[:LONGEST_CLAUSE] if character.isalpha()]
    foreign = sum(character > LAST_LATIN for character in letters) * 2 > len(letters)
    return Heard(clauses, "".join(clause.text for clause in clauses).lower().strip(), foreign)


def _normalised(part: str) -> str:
    """Write one clause the way the patterns expect it: long forms, no marks, no lead-in, a space after each word."""
    said = [words.CONTRACTIONS.get(word.lower(), word) for raw in part.split() if (word := raw.strip(EDGES))]
    text = " ".join(word for word in said if any(map(str.isalnum, word)))
    if not text:
        return ""
    if text.isupper() and " " in text:
        text = text.lower()
    if "'" in text:
        text = IS.sub(r"\1 is ", HAS.sub(r"\1 has ", text + " "))
    if "not" in text:
        text = NOT.sub(r"\1n't", text.replace("can not", "can't").replace("will not", "won't"))
    spoken = text.split()
    start = 0
    while len(spoken) - start > 2 and _is_lead_in(spoken[start].lower(), spoken[start + 1].lower()):
        start += 1
    return " ".join(spoken[start:]) + " "


def _is_lead_in(word: str, after: str) -> bool:
    return word in words.LEAD_INS or (word in words.LEAD_INS_BEFORE_SUBJECT and after in words.SUBJECTS)


def _matches(clauses: Sequence[Clause]) -> Iterator[Match]:
    """Yield the turns that fit, the highest rank first; within a rank, what was said first comes first."""
    hits = {
        (-READINGS[rule].rank, place, rule)
        for place, clause in enumerate(clauses)
        for word in clause.text.lower().split()
        for rule in RULES_OF_WORD.get(word, ())
    }
    for _, place, rule in sorted(hits)[:MOST_TRIES]:
        text = clauses[place].text
        for patterns, listed in READINGS[rule].turns:
            for pattern in patterns:
                if found := pattern.match(text):
                    yield Match(READINGS[rule].rank, listed, (text, *(part or "" for part in found.groups())))
                    break


def _is_worth_remembering(clause: Clause) -> bool:
    size = len(clause.text.split())
    return (
        not clause.asks and 3 <= size <= LONGEST_MEMORY and any(made.match(clause.text) for made in MEMORABLE_PATTERNS)
    )


def _fill(answer: str, parts: Sequence[str]) -> str:
    """Put the parts into an answer; empty when it needs one that is missing or too long to repeat."""
    needed = [int(place) for _, place in PLACE.findall(answer)]
    if any(place >= len(parts) or not _can_be_echoed(parts[place].split()) for place in needed):
        return ""

    def echo(found: re.Match[str]) -> str:
        # In quotation marks stands what was said, not what it means seen from here.
        said = parts[int(found[2])].split()
        return found[1] + (" ".join(said) if found[1] else _turned_round(said))

    text = PLACE.sub(echo, answer)
    return text[0].upper() + text[1:]


def _can_be_echoed(said: Sequence[str]) -> bool:
    return 0 < len(said) <= LONGEST_ECHO and all(len(word) <= LONGEST_WORD for word in said)


def _turned_round(said: list[str]) -> str:
    """Say the same from the other side: "I am afraid of you" is "you are afraid of me"."""
    while len(said) > 1 and said[-1].lower() in words.TAILS:
        said = said[:-1]
    small = [word.lower() for word in said]
    turned = [_turned_word(place, said[place], small) for place in range(len(said))]
    for place, word in enumerate(small):
        around = slice(max(0, place - 1), place + 2)
        if word in words.VERBS_FOR_I and "I" in turned[around]:
            turned[place] = words.VERBS_FOR_I[word]
        elif word in words.VERBS_FOR_YOU and "i" in small[around]:
            turned[place] = words.VERBS_FOR_YOU[word]
    return " ".join(turned)


def _turned_word(place: int, word: str, small: Sequence[str]) -> str:
    if small[place] == "you":
        return "I" if _is_subject(place, small) else "me"
    return words.REFLECTIONS.get(small[place]) or (small[place] if small[place] in words.SMALL_WORDS else word)


def _is_subject(place: int, small: Sequence[str]) -> bool:
    """Guess whether the "you" at `place` does something, or has something done to it."""
    before = small[place - 1] if place else ""
    after = small[place + 1] if place + 1 < len(small) else ""
    if not after or before in words.PREPOSITIONS:
        return False
    return not before or before in words.WORDS_BEFORE_SUBJECT_YOU or after in words.VERBS_AFTER_YOU


def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern of the script; no word is ever taken apart, so that no text is slow to match."""
    tokens = pattern.split()
    end = "" if tokens[-1] == "*" else "$"
    return re.compile("".join(map(_translated, tokens)) + end, re.IGNORECASE)


def _translated(piece: str) -> str:
    if piece == "~":
        return f"(?:{_either(words.MODIFIERS)}){{0,3}}"
    if piece in FREE_TOKENS:
        return FREE_TOKENS[piece]
    bare = piece.removesuffix("?")
    choice = {word for name in bare.split("|") for word in words.expanded(name)}
    matched = f"({_either(choice)})" if "@" in bare else _either(choice)
    return f"(?:{matched})?" if piece.endswith("?") else matched


def _either(choice: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(choice)))}) "


@dataclass(frozen=True, slots=True)
class Reading:
    """A rule, ready to be matched: each of its turns as compiled patterns and answers."""

    rank: int
    turns: tuple[tuple[tuple[re.Pattern[str], ...], tuple[str, ...]], ...]


def _prepared(rule: Rule) -> Reading:
    return Reading(rule.rank, tuple((tuple(map(_compiled, turn.patterns)), turn.answers) for turn in rule.turns))


def _indexed(rules: Sequence[Rule]) -> Mapping[str, tuple[int, ...]]:
    keywords = {word for rule in rules for word in rule.words}
    return {word: tuple(place for place, rule in enumerate(rules) if word in rule.words) for word in keywords}


READINGS: Final = tuple(map(_prepared, RULES))
RULES_OF_WORD: Final = MappingProxyType(_indexed(RULES))
MEMORABLE_PATTERNS: Final = tuple(map(_compiled, MEMORABLE))
