"""Lines of those who wait for a conversation: first come, first served."""

from __future__ import annotations

import threading

from convo.line import Line


def turns(*places: threading.Event) -> list[bool]:
    return [each.is_set() for each in places]


def test_the_first_one_has_his_turn_at_once():
    assert [True] == turns(Line(threading.Event).join("a"))


def test_the_next_one_has_his_turn_when_the_first_one_leaves():
    line = Line(threading.Event)
    first, second, third = (line.join("a") for _ in range(3))
    before = turns(second, third)
    line.leave("a", first)
    assert ([False, False], [True, False]) == (before, turns(second, third))


def test_who_gives_up_leaves_the_order_as_it_was():
    line = Line(threading.Event)
    first, second, third = (line.join("a") for _ in range(3))
    line.leave("a", second)
    before = turns(third)
    line.leave("a", first)
    assert ([False], [True]) == (before, turns(third))


def test_each_conversation_has_a_line_of_its_own():
    line = Line(threading.Event)
    line.join("a")
    assert [True] == turns(line.join("b"))


def test_nothing_is_kept_of_a_line_in_which_nobody_is():
    line = Line(threading.Event)
    line.leave("a", line.join("a"))
    assert {} == line._waiting
