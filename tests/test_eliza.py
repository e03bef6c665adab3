"""What the embedded ELIZA must do in a conversation: answer the person, rotate, remember, care, and never fail."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.clients.eliza import answers
from convo.clients.eliza_script import CRISIS, MEMORABLE, RULES
from convo.clients.eliza_words import FALLBACKS, FOREIGN_ANSWERS, REPEAT_ANSWERS, SILENCE_ANSWERS


def reply(*texts: str) -> str:
    return answers(texts)[0]


def test_the_answer_is_about_what_was_said() -> None:
    assert "I am sorry that your mother is ill. How are you coping with it?" == reply("My mother is ill")
    assert "What do you think made you so sad?" == reply("My mother is ill", "I am sad")


def test_a_memory_is_brought_up_when_nothing_else_matches() -> None:
    talk = ("My mother is ill", "I am sad", "Hmm, whatever")
    assert "Earlier you said that your mother is ill. I would like to hear more about that." == reply(*talk)


def test_memories_come_back_in_order_and_once_each() -> None:
    told = ["My mother is ill", "My cat hates strangers"]
    first, second, third = (reply(*told, *["hmm", "well", "meh"][:turn]) for turn in (1, 2, 3))
    assert (True, True) == ("your mother is ill" in first, "your cat hates strangers" in second)
    assert (False, False) == ("your mother is ill" in third, "your cat hates strangers" in third)


def test_a_question_is_not_remembered() -> None:
    assert "your mother" not in reply("My mother is ill?", "Hmm")


@pytest.mark.parametrize(
    ("said", "echo"),
    [
        ("I am sad because my boss hates me", "your boss hates you"),
        ("Because I'm afraid of you", "you are afraid of me"),
        ("because you don’t like me", "I don't like you"),
        ("Because I was late and we weren't ready", "you were late and you weren't ready"),
        ("because I think that you are my friend", "you think that I am your friend"),
        ("BECAUSE MY DOG ATE IT!!!", "your dog ate it"),
        ("because Anna told me to do it myself...", "Anna told you to do it yourself"),
        ("because im so lazy lol", "you are so lazy"),
        ("because I would be happier if I were you", "you would be happier if you were me"),
        ("because your rules are mine", "my rules are yours"),
    ],
)
def test_the_persons_words_are_turned_round(said: str, echo: str) -> None:
    assert f"How is it for you that {echo}?" == reply(said)


def test_the_clause_with_the_most_important_word_is_answered() -> None:
    assert reply("my father died") == reply("I went home, my father died. The weather is nice")
    assert reply("I am sad") == reply("It is sunny but I am sad")


def test_the_same_question_later_gets_the_next_answer() -> None:
    texts = ["Tell me a joke", "I see", "Tell me a joke", "I see", "Tell me a joke"]
    jokes = [reply(*texts[:length]) for length in (1, 3, 5)]
    assert 3 == len(set(jokes))


def test_the_same_text_twice_in_a_row_is_noticed() -> None:
    assert REPEAT_ANSWERS[0] == reply("I like tea", "I like tea!")
    assert REPEAT_ANSWERS[1] == reply(*["I like tea"] * 3)


def test_yes_and_no_may_be_repeated() -> None:
    assert 3 == len({reply(*["no"] * times) for times in (1, 2, 3)} - {*REPEAT_ANSWERS})


def test_the_same_input_always_gets_the_same_answers() -> None:
    texts = ["Hello", "My job is hard", "whatever"]
    assert answers(texts, count=8) == answers(texts, count=8)


@pytest.mark.parametrize(
    "said",
    [
        "I want to die",
        "i want to kill myself",
        "Thinking about suicide",
        "My day was fine, but I don't want to live anymore.",
        "I wish I was dead",
        "Hello, tell me a joke or I will end my life",
        "there is no reason to live",
        "everyone would be better off without me",
        "I don't want to be here anymore",
        "my friend wants to kill himself",
    ],
)
def test_thoughts_of_suicide_are_met_with_care(said: str) -> None:
    for answer in answers([said], count=3):
        assert (True, True, True) == (
            "simple program" in answer,
            "crisis line" in answer and "local emergency number" in answer,
            "trust" in answer,
        )


@pytest.mark.parametrize(
    "said", ["I want to die", "my friend wants to kill himself", "I want to end my life, my job is hell"]
)
def test_a_crisis_leaves_no_other_choice_than_care(said: str) -> None:
    found = answers([said], count=8)
    assert 8 == len(found)
    assert not any(word in answer for answer in found for word in ("die", "hell", "job", "to end"))


def test_care_goes_on_after_a_crisis() -> None:
    assert "Before" in reply("I want to die", "no", "whatever", "ok")
    assert "Earlier you said" not in reply("I want to die", "hmm")


@pytest.mark.parametrize("said", ["This job makes me want to die laughing", "I am dying to see that film"])
def test_figures_of_speech_are_no_crisis(said: str) -> None:
    assert "crisis line" not in reply(said)


@pytest.mark.parametrize("said", ["Are you human?", "who are you", "are you an AI?", "You are a bot"])
def test_it_says_honestly_what_it_is(said: str) -> None:
    assert "ELIZA of 1966" in reply(said)


@pytest.mark.parametrize("said", ["", "   ", "...", "?!", "\n\t", "🙂🙂", "\x00", "\ud800"])
def test_no_words_are_answered_all_the_same(said: str) -> None:
    assert SILENCE_ANSWERS[0] == reply(said)


@pytest.mark.parametrize("said", ["你好，我很难过", "أنا حزين", "Мне грустно"])
def test_other_scripts_are_recognised(said: str) -> None:
    assert FOREIGN_ANSWERS[0] == reply(said)


def test_a_word_that_is_quoted_is_not_turned_round() -> None:
    assert any('"am i"' in answer for answer in answers(["Am I"], count=20))


def test_no_texts_are_answered_like_silence() -> None:
    assert [SILENCE_ANSWERS[0]] == answers([])


@pytest.mark.parametrize(
    "said", ["", "xyzzy", "I am sad", "你好", "I want to die", "hello", "Purple horses sing loudly"]
)
def test_eight_different_answers_can_be_had(said: str) -> None:
    assert 8 == len(set(answers([said], count=8)))


def test_no_answers_are_given_when_none_are_wanted() -> None:
    assert [] == answers(["Hello"], count=0)


@pytest.mark.parametrize("start", ["I hate", "I love", "I miss", "I want", "I'm afraid of", "I am angry at", "I fear"])
def test_an_object_never_becomes_a_subject(start: str) -> None:
    found = " ".join(answers([f"{start} him"], count=4))
    assert not any(wrong in found.lower() for wrong in ("has him", "does him", "did him", "if him", "no him"))


def test_an_overlong_echo_is_not_given() -> None:
    assert "word word" not in " ".join(answers(["I am " + "word " * 60], count=8))


@given(st.lists(st.text(st.characters(codec=None)), min_size=1, max_size=5), st.integers(1, 12))
def test_anything_gets_whole_and_different_answers(texts: list[str], count: int) -> None:
    found = answers(texts, count=count)
    assert 1 <= len(found) <= count
    assert len(found) == len(set(found))
    for answer in found:
        assert answer.strip()
        assert answer.isprintable()


PIECES = [
    "I",
    "you",
    "me",
    "my",
    "am",
    "are",
    "is",
    "because",
    "mother",
    "sad",
    "want",
    "to",
    "die",
    "what",
    "why",
    "\ud83d",
]
PIECES += ["'", ".", ",", "?", "{0}", "{9}", "\\1", "\x00", "İ", "ß", "don't", "like", "hmm", "dead", "can't", "ing"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join), min_size=1, max_size=5))
def test_any_order_of_keywords_gets_whole_answers(texts: list[str]) -> None:
    for answer in answers(texts, count=8):
        assert answer.isprintable()
        assert answer[0] == answer[0].upper()
        assert answer[-1] in ".?!"


def test_a_long_conversation_is_replayed_quickly() -> None:
    text = "Well I think that my mother is always angry with me because I never do what you people want me to do here"
    texts = [f"{text} {number} and so we go on all day" for number in range(200)]
    start = time.thread_time()
    answers(texts)
    assert time.thread_time() - start < 0.5  # some 0.02 s; the rest is for slow machines


@pytest.mark.parametrize(
    "piece", ["a", "i am ", "because ", "my mother is ", "I want to ", "a, ", "why you my i am. ", " ", "'"]
)
def test_a_megabyte_is_read_in_good_time(piece: str) -> None:
    start = time.thread_time()
    answers([piece * (1_000_000 // len(piece))])
    assert time.thread_time() - start < 5


def test_the_script_is_whole() -> None:
    assert len(RULES) >= 60
    assert CRISIS == max(rule.rank for rule in RULES)
    assert all(rule.words and rule.turns for rule in RULES)
    turns = [turn for rule in RULES for turn in rule.turns]
    assert [] == [turn.patterns[0] for turn in turns if len(turn.answers) < 3]
    listed = [answer for turn in turns for answer in turn.answers] + [*FALLBACKS]
    assert [] == [answer for answer in listed if answer[-1] not in ".?!" or "  " in answer]
    assert MEMORABLE
