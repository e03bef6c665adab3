"""Values that also read as the dictionaries which the reference page documents."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest

import convo
from convo import (
    BlockedReason,
    Candidate,
    CitationMetadata,
    CitationSource,
    Example,
    Filter,
    Message,
    MessagePrompt,
    RequestOptions,
    Retry,
)

CITED = CitationMetadata((CitationSource(start_index=0, uri="u"),))

READ = [
    (Message(), {"author": ""}),
    (Message("0", "hi", tokens=7, position=3), {"author": "0", "content": "hi"}),
    (Candidate(2, "hi", "stop"), {"author": "1", "content": "hi"}),
    (
        Candidate(0, "hi", citation_metadata=CITED),
        {
            "author": "1",
            "content": "hi",
            "citation_metadata": {"citation_sources": [{"start_index": 0, "uri": "u"}]},
        },
    ),
    (Example("i", "o"), {"input": {"author": "", "content": "i"}, "output": {"author": "", "content": "o"}}),
    (Example(None, None), {}),
    (Filter(BlockedReason.SAFETY), {"reason": "SAFETY"}),
    (Filter("OTHER", "why"), {"reason": BlockedReason.OTHER, "message": "why"}),
    (CitationSource(), {}),
    (MessagePrompt(), {"examples": [], "messages": []}),
    (
        MessagePrompt("c", (Example("i", "o"),), (Message("0", "hi"),)),
        {
            "context": "c",
            "examples": [{"input": {"author": "", "content": "i"}, "output": {"author": "", "content": "o"}}],
            "messages": [{"author": "0", "content": "hi"}],
        },
    ),
    (RequestOptions(), {"retry": None, "timeout": None}),
    (RequestOptions(timeout=5, retry=Retry()), {"retry": Retry(), "timeout": 5}),
]


@pytest.mark.parametrize(("value", "wanted"), READ)
def test_a_value_reads_as_its_dictionary(value: Any, wanted: dict[str, Any]):
    assert value == wanted
    assert wanted == value
    assert (wanted, len(wanted), list(wanted)) == (dict(value), len(value), list(value))
    assert {**wanted} == {**value}


@pytest.mark.parametrize(("value", "wanted"), READ)
def test_what_is_unset_has_no_key(value: Any, wanted: dict[str, Any]):
    for key in (*type(value).KEYS, "nothing"):
        assert (key in wanted, wanted.get(key)) == (key in value, value.get(key))
    with pytest.raises(KeyError, match="nothing"):
        value["nothing"]


@pytest.mark.parametrize("value", [each for each, _ in READ])
def test_a_value_is_there_whatever_it_reads_as(value: Any):
    assert value
    assert value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    assert hash(value) == hash(copy.deepcopy(value))


@pytest.mark.parametrize(
    "value", [each for each, _ in READ if "<" not in repr(each)]
)  # as enumerations show themselves
def test_a_value_shows_what_is_set_and_how_it_was_made(value: Any):
    assert value == eval(repr(value), {name: getattr(convo, name) for name in convo.__all__})
    assert "None" not in repr(value) or value == Example(None, None)


def test_a_value_shows_no_salt():
    assert "Message(author='0', content='hi', tokens=3)" == repr(Message("0", "hi", tokens=3, salt=bytes(32)))


def test_values_of_one_class_are_compared_whole():
    message = Message("0", "hi", position=1)
    assert message != replace(message, position=3)
    assert message == replace(message, salt=bytes(32))


def test_values_of_two_classes_are_compared_as_they_read():
    message, candidate = Message("1", "hi", position=2), Candidate(0, "hi", "stop")
    assert message == candidate
    assert hash(message) == hash(candidate)
    assert Message("0", "hi") != candidate


@pytest.mark.parametrize("other", [None, 5, "hi", ("0", "hi"), [("author", "0")], {"author": "0"}])
def test_a_value_is_nothing_else(other: Any):
    assert Message("0", "hi") != other


def test_reasons_are_words_of_their_own():
    assert ["BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER"] == [str(each) for each in BlockedReason]
