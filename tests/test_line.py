"""Lines of those who wait for a conversation: first come, first served."""

from __future__ import annotations

import threading

from convo.line import Line


def joined(line: Line, conversation: str = "a") -> threading.Event:
    place = line.new_place()
    line.join(conversation, place)
    return place


def turns(*places: threading.Event) -> list[bool]:
    return [each.is_set() for each in places]


def test_the_first_one_has_his_turn_at_once():
    assert [True] == turns(joined(Line(threading.Event)))


def test_the_next_one_has_his_turn_when_the_first_one_leaves():
    line = Line(threading.Event)
    first, second, third = (joined(line) for _ in range(3))
    before = turns(second, third)
    line.leave("a", first)
    assert ([False, False], [True, False]) == (before, turns(second, third))


def test_who_gives_up_leaves_the_order_as_it_was():
    line = Line(threading.Event)
    first, second, third = (joined(line) for _ in range(3))
    line.leave("a", second)
    before = turns(third)
    line.leave("a", first)
    assert ([False], [True]) == (before, turns(third))


def test_each_conversation_has_a_line_of_its_own():
    line = Line(threading.Event)
    joined(line)
    assert [True] == turns(joined(line, "b"))


def test_nothing_is_kept_of_a_line_in_which_nobody_is():
    line = Line(threading.Event)
    line.leave("a", joined(line))
    assert {} == line._waiting


def test_who_was_interrupted_before_he_stood_in_the_line_can_leave_it():
    line = Line(threading.Event)
    first, second = joined(line), joined(line)
    line.leave("a", line.new_place())
    assert [True, False] == turns(first, second)


def test_a_line_can_be_left_while_somebody_joins_it():
    """As the garbage collector does, when it closes a stream that nobody holds."""
    line, left = Line(threading.Event), []
    first = joined(line)

    class Collecting(threading.Event):
        def set(self) -> None:
            if not left:
                left.append(True)
                line.leave("a", first)
            super().set()

    second = Collecting()
    line.join("a", second)
    line.leave("a", first)
    assert second.is_set()
