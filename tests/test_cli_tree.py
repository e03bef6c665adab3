"""The picture of a tree of forks: exact drawings of trees that were made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from convo.cli.tree import ASCII, BOXES, drawing
from convo.values import Branch, ConversationRecord, Parameters

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def id_of(number: int) -> str:
    return f"0199a3b1-{number:04x}-7000-8000-000000000000"


def branch(
    number: int, turns: int, at: tuple[int, int] | None = None, text: str | None = "And the cat?", **record: object
) -> Branch:
    """Return a conversation; `at` is the number of the one that it is a fork of, and the turn at which it parts."""
    facts = {
        "id": id_of(number),
        "owner": "",
        "name": None,
        "title": None,
        "metadata": {},
        "model": "offline/echo",
        "context": None,
        "context_tokens": 0,
        "parameters": Parameters(),
        "authors": ("0", "1"),
        "input_token_limit": None,
        "trim": "minimal",
        "first_position": 1,
        "turn_count": turns,
        "fence": 0,
        "version": 1,
        "journal_head": b"",
        "created_at": BEGAN + timedelta(seconds=number),
        "updated_at": BEGAN,
        "forked_from": id_of(at[0]) if at else None,
        "forked_at": at[1] if at else None,
    }
    return Branch(ConversationRecord(**(facts | record)), depth=1 if at else 0, beginning=text)


def drawn(*branches: Branch, asked: int = 0, width: int = 80, encoding: str = "utf-8") -> str:
    """Return the picture as one text that begins with a line end."""
    lines = drawing(branches, id_of(asked), width, encoding)
    assert all(cell_len(line) <= width for line in lines)
    return "\n" + "\n".join(lines) + "\n"


FAMILY = (
    branch(0, 7, text="My mother is ill, and I do not know what to do about it.", name="mother"),
    branch(1, 6, (0, 2), text="Let us talk about my boss.", name="work"),
    branch(2, 5, (0, 3)),
    branch(3, 4, (0, 3), text="And the dog?"),
)


def test_a_conversation_alone():
    assert """
  ID             1  2  3  TURNS  ABOUT
* 0199a3b1-0000  ●──●──●      3  "And the cat?"
""" == drawn(branch(0, 3))


def test_four_branches_in_80_columns():
    assert """
  ID             1  2  3  4  5  6  7  TURNS  ABOUT
  0199a3b1-0000  ●──●──●──○──○──○──○      7  mother "My mother is ill, and I d…"
* 0199a3b1-0002     │  ├──●──●            5  "And the cat?"
  0199a3b1-0003     │  ╰──○               4  "And the dog?"
  0199a3b1-0001     ╰──○──○──○──○         6  work "Let us talk about my boss."
""" == drawn(*FAMILY, asked=2)


def test_four_branches_in_40_columns():
    assert """
  ID              2 4 6   TURNS  ABOUT
  0199a3b1-0000  ●●●○○○○      7  mother
* 0199a3b1-0002   │├●●        5
  0199a3b1-0003   │╰○         4
  0199a3b1-0001   ╰○○○○       6  work
""" == drawn(*FAMILY, asked=2, width=40)


def test_characters_that_the_output_can_hold():
    assert """
  ID             1  2  3  4  5  6  7  TURNS  ABOUT
  0199a3b1-0000  *--*--*--o--o--o--o      7  mother "My mother is ill, and I..."
* 0199a3b1-0002     |  +--*--*            5  "And the cat?"
  0199a3b1-0003     |  `--o               4  "And the dog?"
  0199a3b1-0001     `--o--o--o--o         6  work "Let us talk about my boss."
""" == drawn(*FAMILY, asked=2, encoding="ascii")
    assert '"\\u65e5\\u672c é"' in drawn(branch(0, 1, text="日本 é"), encoding="latin-1")
    assert drawn(*FAMILY, encoding="latin-1") == drawn(*FAMILY, encoding="ascii")
    assert {1} == {cell_len(mark) for mark in (*BOXES, *ASCII[:-1])}


def test_the_fork_of_a_fork_hangs_on_the_row_that_has_its_turn():
    """The last one was made of the one before, in which its turn 1 is a copy."""
    assert """
  ID             1  2  3  4  5  6  TURNS  ABOUT
  0199a3b1-0000  ●──●──○──○            4  "And the cat?"
  0199a3b1-0001  │  ╰──●──●──○         5  "And the cat?"
* 0199a3b1-0002  │        ╰──●──●      6  "And the cat?"
  0199a3b1-0003  ╰──○                  2  "And the cat?"
""" == drawn(branch(0, 4), branch(1, 5, (0, 2)), branch(2, 6, (1, 4)), branch(3, 2, (2, 1)), asked=2)


def test_forks_before_the_first_turn_and_forks_in_which_nothing_was_said():
    assert """
  ID             0  1  2  3  TURNS  ABOUT
  0199a3b1-0000  ┬──○──○──○      3  "And the cat?"
  0199a3b1-0001  ├──●──○         2  "And the cat?"
* 0199a3b1-0003  │  ╰─           1  (nothing said since)
  0199a3b1-0002  ╰─              0  (nothing said since)
""" == drawn(
        branch(0, 3), branch(1, 2, (0, 0)), branch(2, 0, (0, 0), text=None), branch(3, 1, (1, 1), text=None), asked=3
    )


def test_a_conversation_in_which_nothing_was_said():
    assert """
  ID               TURNS  ABOUT
* 0199a3b1-0000        0  (nothing said since)
""" == drawn(branch(0, 0, text=None))


def test_a_thousand_turns_are_told_by_those_that_matter():
    branches = branch(0, 1000), branch(1, 995, (0, 990)), branch(2, 1001, (0, 998)), branch(3, 800, (0, 500))
    assert """
  ID             1     500       990    998 1000  TURNS  ABOUT
  0199a3b1-0000  ●┄┄┄┄┄●─●┄┄┄┄●┄┄●─●┄●┄┄●─○─○      1000  "And the cat?"
* 0199a3b1-0002        │         │      ╰─●─●─●    1001  "And the cat?"
  0199a3b1-0001        │         ╰─○┄○              995  "And the cat?"
  0199a3b1-0003        ╰─○┄┄┄┄○                     800  "And the cat?"
""" == drawn(*branches, asked=2)
    assert """
  ID             1                            1000  TURNS  ABOUT
* 0199a3b1-0000  ●┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄●      1000  "And the cat?"
""" == drawn(branch(0, 1000))


def test_two_hundred_branches_share_columns_and_each_has_its_corner():
    picture = drawn(branch(0, 500), *(branch(number, 2 * number + 3, (0, 2 * number)) for number in range(1, 200)))
    head, _, *rows = picture.splitlines()[1:]
    assert [401, 399, 397] == [int(row.split()[-4]) for row in rows[:3]]
    assert "  ID             2 30 70 112 168 222 278 334 388  TURNS  ABOUT" == head
    assert 199 == sum(row.count("├○") + row.count("╰○") for row in rows)


def test_a_hundred_edits_of_edits_hang_on_one_corner():
    edits = [branch(number, 5, (number - 1, 3), text=f"edit {number}") for number in range(1, 101)]
    rows = drawn(branch(0, 5), *edits, asked=100).splitlines()[2:]
    assert ['0199a3b1-0001        ├──○──○      5  "edit 1"', '0199a3b1-0063        ├──○──○      5  "edit 99"'] == [
        rows[place].strip() for place in (1, 99)
    ]
    assert '* 0199a3b1-0064        ╰──●──●      5  "edit 100"' == rows[100]


def test_a_chain_of_a_thousand_forks_of_forks():
    chain = [branch(number, number + 1, (number - 1, number)) for number in range(1, 1000)]
    assert 1002 == len(drawn(branch(0, 1), *chain, asked=999).splitlines())


def test_the_oldest_one_that_is_left_has_all_its_turns():
    assert """
  ID             1  2  3  4  TURNS  ABOUT
* 0199a3b1-0001  ●──●──●         3  "And the cat?"
  0199a3b1-0002  │  ╰──○──○      4  "And the cat?"
  0199a3b1-0003  ╰──○            2  "And the cat?"
""" == drawn(branch(1, 3, (0, 2)), branch(2, 4, (1, 2)), branch(3, 2, (1, 1)), asked=1)


def test_wide_characters_and_characters_that_act():
    picture = drawn(
        branch(0, 2, text="\x1b[31mred\n\u202e and\ton " + "長い" * 40, name="日本語"),
        branch(1, 2, (0, 1), text="長" * 100, name="長" * 100),
    )
    assert (
        """
  ID             1  2  TURNS  ABOUT
* 0199a3b1-0000  ●──●      2  日本語 "\\x1b[31mred \\u202e and on 長い長い長い長…"
  0199a3b1-0001  ╰──○      2  長長長長長長長長長長長… "長長長長長長長長長長長…"
"""
        == picture
    )


@pytest.mark.parametrize("title", ["About mothers", None])
def test_the_title_of_the_first_one_is_shown_where_it_has_no_name(title: str | None):
    """Forks inherit it, and so it would tell nothing of them."""
    picture = drawn(branch(0, 1, title=title), branch(1, 1, (0, 0), title=title))
    assert (1 if title else 0) == picture.count("About mothers")


def test_ids_are_as_long_as_they_must_be_to_differ():
    same = "0199a3b1-0000-7"
    picture = drawn(
        branch(0, 1, id=f"{same}000-8000-000000000000"), branch(1, 1, (0, 0), id=f"{same}001-8000-000000000000")
    )
    assert f"* {same}000  ┬──●" in picture
    assert f"  {same}001  ╰──○" in picture
