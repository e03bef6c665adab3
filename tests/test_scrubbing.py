"""The bytes of what was erased: none is left in the files of an SQLite store, or it is told how many are, and where."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import convo
from convo.store import erasing, remnants, scrubbing, sqlite
from convo.store.scrubbing import Sought
from convo.testing import ScriptedClient, violations
from tests.processes import run, start
from tests.test_erasing import PLANTED, family, grow_old
from tests.test_store import refusal, texts

SHORT = "the passport X4711-0815 of Mr Miller"
LONG = " ".join(f"{number} is what Mr Miller said of his passport, word for word." for number in range(400))
"""Longer than three pages."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def store(file: Path) -> convo.Store:
    with convo.Store(f"sqlite:///{file}") as store:
        yield store


LOOK = """
import sys
from pathlib import Path
words = sys.stdin.read().encode()
wanted = {words[at : at + 24] for at in range(max(len(words) - 23, 1))}
left = 0
for path in Path(sys.argv[1]).parent.glob("chats.db*"):
    if path.is_file():
        data = path.read_bytes()
        left += sum(data[at : at + 24] in wanted for at in range(len(data)))
print(left)
"""


def left_of(words: str, file: Path) -> int:
    """Return how many places of the files begin as some place of `words` does; told by another process."""
    ran = subprocess.run([sys.executable, "-c", LOOK, str(file)], input=words, capture_output=True, text=True)
    assert ran.stderr == ""
    return int(ran.stdout)


OPEN = """
import sys, convo
store = convo.Store(sys.argv[1])
assert store.list()
# go
print([each.content for each in store.get(sys.argv[2]).messages()])
"""


@pytest.mark.parametrize("words", [SHORT, LONG], ids=["short", "long"])
def test_nothing_is_left_of_a_planted_text_while_other_processes_have_the_store_open(
    store: convo.Store, file: Path, words: str
):
    store.client = ScriptedClient(["one", words], "two", "three", "four")
    talk = store.create(candidate_count=2, input_token_limit=100_000, context="Be brief.")
    talk.send(words)
    between = talk.fork()
    orphan = between.fork()
    orphan.send("and then?")
    orphan.choose(0)
    fork = talk.fork()
    store.delete(between.id)
    other = store.create(messages=["of somebody else", "with an answer"])
    beside = start(OPEN, f"sqlite:///{file}", other.id)
    assert left_of(words, file) > 0
    first = fork.erase(1)
    assert [("2", 1)] * 3 == [(each.target, each.candidate) for each in first.remains.quotes]
    gone = orphan.erase(2, candidate=1)
    assert (3, 0, ()) == (gone.texts, gone.remains.found_bytes, gone.remains.quotes)
    assert (0, file.stat().st_size) == (left_of(words, file), gone.remains.searched_bytes - shared(file))
    assert f"{texts(other)}\n" == said(beside) == "['of somebody else', 'with an answer']\n"
    store.client = ScriptedClient("x")
    fork.send("go on")
    assert words not in repr(store.client.requests)
    assert [] == [each for each in violations(store) if not each.startswith("reply")]


def shared(file: Path) -> int:
    """Return the size of the files beside the database that were searched."""
    return sum(Path(f"{file}{each}").stat().st_size for each in ("-wal", "-shm"))


def said(process: object) -> str:
    out, err = process.communicate("\n")
    assert err == ""
    return out


def test_a_search_takes_no_lock_from_anybody(store: convo.Store, file: Path):
    """Who opens a database file beside SQLite, and closes it, loses his process's locks: another would then take the
    log away with what is written later.
    """
    talk = store.create(messages=[SHORT, "y"], model="offline/echo")
    talk.erase(1)
    close = f"import convo; convo.Store('sqlite:///{file}').close()"
    assert 0 == run("-c", close).returncode
    talk.send("after that")
    look = f"import convo; print(convo.Store('sqlite:///{file}').get('{talk.id}').messages()[-1].content)"
    assert "after that\n" == run("-c", look).stdout


def test_what_a_reader_has_yet_to_see_is_found_and_told(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    with convo.Store(f"sqlite:///{file}") as store:
        talk = store.create(messages=[SHORT, "y"])
        reader = sqlite3.connect(file, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM convo_messages").fetchone() == (2,)
        assert talk.erase(1).remains.found_bytes >= len(SHORT)
        reader.execute("COMMIT")
        reader.close()
        assert (0, 0) == (store.scrub([SHORT]).found_bytes, left_of(SHORT, file))


def test_what_was_left_by_others_is_found_and_the_file_is_rebuilt(store: convo.Store, file: Path):
    """Such as a release before this one, on an SQLite that does not write over what goes."""
    talks = [store.create(messages=[LONG, "y"], name=str(number)) for number in range(3)]
    store.close()
    old = sqlite3.connect(file)
    old.execute("PRAGMA secure_delete = OFF")
    old.execute("PRAGMA foreign_keys = ON")
    old.execute("DELETE FROM convo_conversations WHERE name <> '0'")
    old.commit()
    old.close()
    talks[0].erase(1, scrub=False)
    assert left_of(LONG, file) > 1000
    remains = store.scrub([LONG])
    assert (0, 0, 1) == (left_of(LONG, file), remains.found_bytes, remains.texts)
    assert [] == violations(store)


def test_without_texts_the_files_are_rebuilt(store: convo.Store, file: Path):
    store.create(messages=["x" * 100_000, "y"], name="a")
    store.delete("a")
    before = file.stat().st_size if store.scrub().searched_bytes else 0
    store.create(messages=["z" * 100_000, "y"], name="b")
    store.delete("b")
    assert store.scrub().searched_bytes < before + 2**17


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_database_in_another_encoding_is_searched_in_it(file: Path, encoding: str):
    new = sqlite3.connect(file)
    new.execute(f"PRAGMA encoding = '{encoding}'")
    new.execute("CREATE TABLE convo_first (x)")
    new.execute("DROP TABLE convo_first")
    new.commit()
    new.close()
    with convo.Store(f"sqlite:///{file}") as store:
        talk = store.create(messages=[SHORT, "y"])
        assert store.scrub([SHORT]).found_bytes >= 2 * len(SHORT)
        assert 0 == talk.erase(1).remains.found_bytes
        assert SHORT.encode(encoding.lower().replace("utf-16", "utf-16-")) not in file.read_bytes()


def test_an_engine_that_was_passed_in_is_searched_too(file: Path):
    engine = create_engine(f"sqlite:///{file}")
    with convo.Store(engine) as store:
        remains = store.create(messages=[LONG, "y"]).erase(1).remains
    assert (3, 0, 0) == (len(remains.files), remains.found_bytes, left_of(LONG, file))
    engine.dispose()


def test_in_memory_there_is_nothing_to_search_but_other_texts():
    with convo.Store("sqlite://") as store:
        talk = store.create(messages=[SHORT, f"you said: {SHORT}"])
        remains = talk.erase(1).remains
    assert convo.Remains(texts=1, quotes=(convo.Quote(talk.id, "", "2", 0),)) == remains


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_same_words_are_found_wherever_they_stand(request: pytest.FixtureRequest, kind: str):
    with convo.Store(request.getfixturevalue(f"{kind}_store_url")) as store:
        given = {"context": f"c {SHORT}", "title": SHORT, "metadata": {"k": SHORT}, "name": f"n {SHORT}"}
        talk = store.create(
            owner="acme", opening=SHORT, messages=["x", SHORT], examples=[("i", f"{SHORT} o"), (SHORT, "o")], **given
        )
        found = store.scrub([SHORT]).quotes
        told = ["0", "2", "context", "example:0:output", "example:1:input", "metadata", "name", "title"]
        assert (told, {(talk.id, "acme")}) == (
            sorted(each.target for each in found),
            {(each.conversation, each.owner) for each in found},
        )
        for each in found:
            if each.target not in ("metadata", "name"):
                talk.erase(each.target, candidate=each.candidate, scrub=False)
        talk.update(name=None, metadata={})
        assert () == store.scrub([SHORT]).quotes


def test_an_owner_is_told_of_his_own_conversations_alone(store: convo.Store):
    talks = {each: store.create(owner=each, messages=["x", f"you said: {SHORT}"]) for each in ("a", "b", "")}
    gone = [store.create(owner="a", messages=[SHORT, SHORT]) for _ in range(2)]
    erased, redacted = gone[0].erase(1).remains, gone[1].redact(1, "another").remains
    assert {"a"} == {each.owner for each in (*erased.quotes, *redacted.quotes)}
    assert {"a", "b", ""} == {each.owner for each in store.scrub([SHORT]).quotes}
    forgotten = store.forget("a").remains
    assert ((), True) == (forgotten.quotes, forgotten.found_bytes > 0)
    store.create(owner="b", messages=[SHORT, "y"])
    old = store.prune(timedelta(0), owner="b").remains
    assert ((), True) == (old.quotes, old.found_bytes > 0)
    assert [talks[""].id] == [each.conversation for each in store.scrub([SHORT]).quotes]


ERASURES = {
    "erase": lambda store, **options: store.get("a", owner="acme").erase(1, **options),
    "forget": lambda store, **options: store.forget("acme", **options),
    "prune": lambda store, **options: store.prune(timedelta(0), **options),
    "prune of one": lambda store, **options: store.prune(timedelta(0), owner="acme", **options),
}


@pytest.mark.parametrize("use", ERASURES.values(), ids=ERASURES)
def test_what_was_erased_and_not_looked_for_is_removed_by_the_same_call(store: convo.Store, file: Path, use: Callable):
    store.create(owner="acme", name="a", messages=[SHORT, "y"])
    store.close()
    with sqlite3.connect(file) as free:  # a page that was left by an SQLite which does not write over what goes
        free.execute("PRAGMA secure_delete = OFF")
        free.execute("CREATE TABLE convo_last (x)")
        free.execute("INSERT INTO convo_last VALUES (?)", [LONG])
        free.commit()
        free.execute("DROP TABLE convo_last")
    free.close()
    time.sleep(0.002)
    use(store, scrub=False)
    assert left_of(LONG, file) > 0
    gone = use(store)
    assert (0, 0, True) == (gone.texts, left_of(LONG, file) + left_of(SHORT, file), gone.remains.searched_bytes > 0)


def test_where_nothing_was_erased_nothing_is_rebuilt(store: convo.Store):
    store.create(owner="acme", messages=[SHORT, "y"])
    assert None is store.prune(timedelta(days=1)).remains
    store.prune(timedelta(0), owner="acme")
    assert None is store.prune(timedelta(days=1), owner="b").remains


def test_the_last_of_many_texts_is_found_too(postgres_store_url: str):
    words = [f"the secret words number {number:02d} of all" for number in range(50)]
    with convo.Store(postgres_store_url) as store:
        talk = store.create(messages=[f"I quote: {words[-1]}", "y"])
        remains = store.scrub(words)
    assert ((convo.Quote(talk.id, "", "1"),), 0) == (remains.quotes, remains.not_compared)


def test_texts_that_are_not_compared_are_counted(monkeypatch: pytest.MonkeyPatch):
    words = [f"the secret words number {number:02d} of all" for number in range(50)]
    monkeypatch.setattr(scrubbing, "COMPARING_S", -1.0)
    with convo.Store("sqlite://") as store:
        store.create(messages=[words[-1], words[0]])
        remains = store.scrub([*words, words[-1]])
    assert (["2"], 30) == ([each.target for each in remains.quotes], remains.not_compared)


def test_a_database_that_takes_too_long_is_told():
    def busy(_: object) -> list[convo.Quote]:
        raise convo.StoreBusy("too long")

    assert (None, 2) == scrubbing.compare(busy, ["a", "b"], ["c"])


def test_words_are_found_in_metadata_as_json_writes_them():
    said = 'He said "my number is 4711-0815",\nand left'
    with convo.Store("sqlite://") as store:
        talk = store.create(messages=[said, "y"], metadata={"note": said})
        assert (convo.Quote(talk.id, "", "metadata"),) == talk.erase(1).remains.quotes


def test_no_more_places_are_told_than_a_person_reads(store: convo.Store):
    store.create(messages=[f"{number} {SHORT}" for number in range(100)])
    assert scrubbing.QUOTES == len(store.scrub(SHORT).quotes)


def test_what_is_too_short_to_be_looked_for_is_told(store: convo.Store):
    talk = store.create(messages=["ü 4711", "y"])
    remains = talk.erase(1).remains
    assert (0, 1, 0) == (remains.texts, remains.too_short, len(remains.quotes))


def test_of_many_texts_some_are_looked_for(store: convo.Store, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scrubbing, "MOST_TEXTS", 5)
    family(store, owner="acme")
    grow_old(store)
    remains = store.prune(timedelta(days=100)).remains
    assert (5, 0) == (remains.texts + remains.too_short, remains.found_bytes)
    assert remains.left_out > 20
    family(store, owner="acme", name="acme's own name")
    remains = store.forget("acme").remains
    assert (0, 0, 0) == (remains.found_bytes, left_of(PLANTED, file), left_of("acme's own name", file))


def test_what_cannot_be_searched_is_told_and_erased_all_the_same(store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    talk = store.create(messages=[SHORT, "y"])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(convo.StoreUnavailable, match="could not be searched") as caught:
        talk.erase(1)
    assert ["what was to be erased is erased; scrub() looks once more for what is left in the files"] == (
        caught.value.__notes__
    )
    assert [None, "y"] == texts(talk)


@pytest.mark.parametrize("interpreter", [None, ""])
def test_without_an_interpreter_nothing_is_searched(
    store: convo.Store, monkeypatch: pytest.MonkeyPatch, interpreter: str | None
):
    monkeypatch.setattr(sys, "executable", interpreter)
    with pytest.raises(convo.StoreUnavailable, match="it takes a Python interpreter"):
        store.scrub([SHORT])


def test_a_search_that_does_not_end_is_given_up(store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scrubbing, "SEARCH_S", -1.0)
    with pytest.raises(convo.StoreUnavailable, match="could not be searched"):
        store.scrub([SHORT])


def test_only_texts_can_be_looked_for():
    with convo.Store("sqlite://") as store:
        assert [TypeError] * 4 == [refusal(store.scrub, each) for each in ([1], b"12345678", None, [b"x"])]
        assert [convo.InvalidText] * 2 == [refusal(store.scrub, [each]) for each in ("\ud800abcdefgh", "abc\0defghijk")]


# ---- the search itself


@pytest.mark.parametrize("length", [8, 31, 32, 33, 47, 48, 63, 64, 79, 80, 1000])
def test_a_text_is_cut_into_pieces_that_are_the_text(length: int):
    text = "".join(random.Random(length).choices("abcdefgh", k=length))
    pieces = Sought([text]).pieces("utf-8")
    assert text == b"".join(pieces).decode()
    assert all(len(each) == 32 for each in pieces[:-1])
    assert min(16, length) <= len(pieces[-1]) < 48


def test_each_piece_is_counted_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(1)
    path = tmp_path / "file"
    for _ in range(150):
        monkeypatch.setattr(remnants, "BLOCK_BYTES", chance.choice([1, 7, 16, 50, 1000]))
        monkeypatch.setattr(remnants, "FEW", chance.choice([0, 100]))
        pieces = list({bytes(chance.choices(b"ab", k=chance.randint(8, 12))) for _ in range(chance.choice([3, 60]))})
        data = bytes(chance.choices(b"ab", k=chance.randint(0, 300)))
        path.write_bytes(data)
        counts = {
            index: count
            for index, piece in enumerate(pieces)
            if (count := sum(data.startswith(piece, at) for at in range(len(data))))
        }
        assert (len(data), counts) == remnants.Pieces(pieces).found_in(str(path))


def test_the_reasons_of_convos_own_are_codes_as_those_of_others():
    from convo.erasing import check_reason

    assert [None, None] == [check_reason(each) for each in (erasing.FORGOTTEN_REASON, erasing.RETENTION_REASON)]
    with pytest.raises(convo.InvalidInput):
        check_reason(f"{erasing.FORGOTTEN_REASON} for good")
