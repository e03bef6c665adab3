"""Who holds a turn, and whether he is still there: the dead are known at once, and nobody living is taken for dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

import convo
from convo.store.owners import Owner
from convo.testing import HistoryClient, ScriptedClient, violations
from tests.processes import HERE, environment, run_at_once, start
from tests.test_store import refusal, texts

ATTEMPT = """
import sys
from pathlib import Path
from convo.store.owners import Owner
owner = Owner(Path(sys.argv[1]))
attempt = owner.attempt()
Path(sys.argv[2]).write_text(attempt.__enter__())
# go
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "chats.db").touch()
    return tmp_path / "chats.db"


@pytest.fixture
def owner(database: Path) -> Owner:
    return Owner(database)


@pytest.fixture
def other(database: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Return another process that is in an attempt, and the attempt's name."""
    process = start(ATTEMPT, str(database), f"{database}.name")
    yield process, Path(f"{database}.name").read_text()
    end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def files_of(database: Path) -> list[str]:
    return sorted(each.name for each in Path(f"{database}.owners").iterdir())


# ---- who is gone


def test_another_process_that_lives_is_there(owner: Owner, other: Any):
    assert owner.is_gone(other[1]) is False


def test_a_process_that_is_stopped_is_there(owner: Owner, other: Any):
    other[0].send_signal(signal.SIGSTOP)
    assert owner.is_gone(other[1]) is False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_a_signal_ended_is_gone(owner: Owner, other: Any, number: signal.Signals):
    other[0].send_signal(number)
    other[0].wait()
    assert owner.is_gone(other[1])


def test_who_is_gone_stays_gone(owner: Owner, other: Any):
    end(other[0])
    assert [True] * 3 == [each.is_gone(other[1]) for each in (owner, owner, Owner(owner._database))]


def test_another_store_of_the_same_process_is_there_until_it_closes(owner: Owner, database: Path):
    second = Owner(database)
    with second.attempt() as name:
        assert owner.is_gone(name) is False
    second.close()
    assert owner.is_gone(name)


def test_a_store_closed_during_an_attempt_is_there_for_others(owner: Owner, database: Path):
    second = Owner(database)
    with second.attempt() as name:
        second.close()
        assert owner.is_gone(name) is False


def test_a_store_knows_of_its_own_attempts_which_have_ended(owner: Owner):
    with owner.attempt() as first, owner.attempt() as second:
        assert (False, False) == (owner.is_gone(first), owner.is_gone(second))
    with owner.attempt() as third:
        assert [True, True, False] == [owner.is_gone(each) for each in (first, second, third)]


def test_an_attempt_that_an_error_ended_is_at_its_end(owner: Owner):
    with contextlib.suppress(KeyboardInterrupt), owner.attempt() as name:
        raise KeyboardInterrupt
    assert owner.is_gone(name)


def test_several_that_look_at_once_all_see_that_a_store_is_gone(owner: Owner, database: Path, other: Any):
    end(other[0])
    with (Path(f"{database}.owners") / other[1].partition(".")[0]).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert owner.is_gone(other[1])


@pytest.mark.parametrize(
    "holder",
    ["somebody", "", ".", "..", "../../x", "../chats.db", "/etc/passwd", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n"],
)
def test_a_holder_that_is_no_store_is_left_to_its_lease(owner: Owner, database: Path, holder: str):
    assert [False, False] == [owner.is_gone(holder), owner.is_gone(f"{holder}.1")]
    assert database.exists()


def test_a_store_that_never_showed_life_is_gone(owner: Owner):
    assert owner.is_gone(f"{uuid.uuid4().hex}.1")


def test_without_a_file_only_the_own_attempts_are_known():
    owner = Owner(None)
    with owner.attempt() as name:
        known = [owner.is_gone(each) for each in (name, f"{uuid.uuid4().hex}.1")]
    assert ([False, False], True) == (known, owner.is_gone(name))


def test_a_file_that_may_not_be_opened_is_left_to_its_lease(owner: Owner, database: Path):
    folder = Path(f"{database}.owners")
    (folder / ("0" * 32)).mkdir(parents=True)
    assert owner.is_gone("0" * 32) is False


# ---- the files


def test_a_store_has_a_file_from_its_first_attempt_on_until_it_closes(owner: Owner, database: Path):
    assert not Path(f"{database}.owners").exists()
    with owner.attempt() as name:
        pass
    assert [name.partition(".")[0]] == files_of(database)
    owner.close()
    assert [] == files_of(database)


def test_a_store_that_closed_can_be_used_and_closed_again(owner: Owner, database: Path):
    for _ in range(3):
        with owner.attempt():
            assert 1 == len(files_of(database))
        owner.close()
    owner.close()
    assert [] == files_of(database)


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_a_file_that_was_taken_away_is_made_again(owner: Owner, database: Path, what: str):
    with owner.attempt() as name:
        (Path(f"{database}.owners") / name.partition(".")[0]).unlink()
        if what == "the folder":
            Path(f"{database}.owners").rmdir()
    with owner.attempt() as name:
        assert Owner(database).is_gone(name) is False


def test_the_file_is_taken_away_while_an_attempt_begins(owner: Owner, database: Path):
    for _ in range(200):
        with owner.attempt() as name:
            held = Path(f"{database}.owners") / name.partition(".")[0]
            assert Owner(database).is_gone(name) is False
        held.unlink()


def test_files_of_the_dead_are_swept_and_those_of_the_living_stay(database: Path, other: Any, tmp_path: Path):
    dead = start(ATTEMPT, str(database), str(tmp_path / "dead"))
    end(dead)
    owner = Owner(database)
    with owner.attempt() as name:
        living = sorted(each.partition(".")[0] for each in (name, other[1]))
    assert living == files_of(database)


def test_a_folder_that_is_gone_at_the_end_does_no_harm(owner: Owner, database: Path):
    with owner.attempt() as name:
        pass
    (Path(f"{database}.owners") / name.partition(".")[0]).unlink()
    Path(f"{database}.owners").rmdir()
    owner.close()
    assert not Path(f"{database}.owners").exists()


def test_a_file_that_cannot_be_taken_away_does_not_hinder_the_end(owner: Owner, database: Path):
    with owner.attempt() as name:
        shown = Path(f"{database}.owners") / name.partition(".")[0]
    shown.unlink()
    shown.mkdir()
    owner.close()
    assert owner._handle is None


def test_a_new_file_of_another_is_not_taken_for_the_one_that_was_looked_at(database: Path, monkeypatch: Any):
    """Two that sweep at once: what the slower one locks has been replaced by a living store's file meanwhile."""
    owner, path = Owner(database), Path(f"{database}.owners")
    with owner.attempt() as name:
        held = path / name.partition(".")[0]
        swept, real_open = [], os.open

        def slowly(file: Any, *how: Any) -> int:
            handle = real_open(file, *how)
            if file == held and not swept:  # meanwhile the file goes, and its store makes it anew
                swept.append(True)
                held.unlink()
                owner.forget()
                with owner.attempt():
                    pass
            return handle

        monkeypatch.setattr(os, "open", slowly)
        known = Owner(database).is_gone(name)
        assert (False, True) == (known, held.exists())


START = """
import sys
from pathlib import Path
from convo.store.owners import Owner
database, wrong, others = Path(sys.argv[1]), 0, []
# go
for _ in range(int(sys.argv[2])):
    owner, rival = Owner(database), Owner(database)
    with owner.attempt() as name:
        wrong += rival.is_gone(name)
        with rival.attempt() as other:
            wrong += owner.is_gone(other) + rival.is_gone(name)
    owner.close()
    wrong += not rival.is_gone(name)
    if len(others) < 20:
        others.append(rival)  # its file stays
print(wrong)
"""


def test_no_living_store_is_taken_for_gone_when_many_start_and_sweep_at_once(database: Path):
    ended = run_at_once(START, [(str(database), "60")] * 8)
    assert [(0, "0", "")] * 8 == [(code, said.split("\n")[-2], error) for code, said, error in ended]


# ---- which store


def test_a_store_behind_a_link_is_the_same_store(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "x.db").symlink_to(tmp_path / "folder" / "chats.db")
    stores = [convo.Store(f"sqlite:///{tmp_path / each}") for each in ("folder/chats.db", "link/chats.db", "x.db")]
    with stores[0].database.owner.attempt() as name:
        assert [False] * 3 == [each.database.owner.is_gone(name) for each in stores]
    stores[0].close()
    assert [True] * 3 == [each.database.owner.is_gone(name) for each in stores]
    for each in stores:
        each.close()


def test_stores_of_one_name_in_two_folders_are_two(tmp_path: Path):
    for each in ("a", "b"):
        (tmp_path / each).mkdir()
    first, second = Owner(tmp_path / "a" / "chats.db"), Owner(tmp_path / "b" / "chats.db")
    with first.attempt() as name:
        assert second.is_gone(name)


# ---- a turn whose sender is killed

HANGING = """
import os, signal, sys, time
import convo
from convo.testing import HistoryClient

def hang(request):
    print("asked", flush=True)
    sys.stdin.readline()

store = convo.Store(sys.argv[1], client=HistoryClient(before_answer=hang))
print(store.get("a").send("first", request_key="first").text)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[convo.Store]:
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}", client=HistoryClient()) as opened:
        opened.create(name="a")
        yield opened


@pytest.fixture
def sender(store: convo.Store) -> Iterator[subprocess.Popen[str]]:
    """Return a process that waits for its model."""
    command = [sys.executable, "-c", HANGING, f"sqlite:///{store.engine.url.database}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=HERE, env=environment(HERE), text=True, **pipes)
    assert process.stdout.readline() == "asked\n", process.communicate()[1]
    yield process
    end(process)


@pytest.fixture
def killed(sender: subprocess.Popen[str]) -> None:
    sender.kill()
    sender.wait()


@pytest.mark.usefixtures("killed")
def test_the_turn_of_a_killed_sender_is_unfinished_at_once(store: convo.Store):
    with pytest.raises(convo.TurnUnfinished) as caught:
        store.get("a").send("second")
    assert ("in_flight", "first", 1) == (caught.value.state, caught.value.request_key, caught.value.turn)


@pytest.mark.usefixtures("killed")
@pytest.mark.parametrize(("how", "expected"), [("resume", ["first", "second"]), ("discard", ["second"])])
def test_the_next_sender_settles_the_turn_of_a_killed_one(store: convo.Store, how: Any, expected: list[str]):
    talk = store.get("a")
    talk.send("second", on_unfinished=how)
    assert (expected, []) == (texts(talk)[::2], violations(store))


@pytest.mark.usefixtures("killed")
def test_the_turn_of_a_killed_sender_is_resumed_at_once(store: convo.Store):
    reply = store.get("a").resume()
    assert (["first", reply.text], []) == (texts(store.get("a")), violations(store))


@pytest.mark.usefixtures("killed")
def test_the_turn_of_a_killed_sender_is_discarded_at_once(store: convo.Store):
    assert ("first", []) == (store.get("a").discard(), texts(store.get("a")))


@pytest.mark.usefixtures("killed")
def test_the_request_of_a_killed_sender_is_repeated_at_once(store: convo.Store):
    reply = store.get("a").send("first", request_key="first")
    assert ["first", reply.text] == texts(store.get("a"))


def test_a_sender_that_is_stopped_keeps_its_turn_and_its_answer_counts(
    store: convo.Store, sender: subprocess.Popen[str]
):
    sender.send_signal(signal.SIGSTOP)
    talk = store.get("a")
    uses = [talk.resume, talk.discard, lambda: talk.send("x"), lambda: talk.send("x", on_unfinished="discard")]
    assert [convo.TurnInFlight] * 4 == [refusal(use) for use in uses]
    sender.send_signal(signal.SIGCONT)
    answer = sender.communicate("\n")[0].strip()
    assert (["first", answer], []) == (texts(talk), violations(store))


def test_a_second_ctrl_c_leaves_a_turn_that_can_be_resumed_at_once(store: convo.Store):
    def press(_: object) -> None:
        raise KeyboardInterrupt

    def press_twice(_: object) -> None:
        event.listen(store.engine, "begin", press, once=True)  # in the next transaction: the turn is marked as failed
        raise KeyboardInterrupt

    talk = store.get("a")
    store.client = HistoryClient(before_answer=press_twice)
    assert KeyboardInterrupt is interruption(talk)
    store.client = ScriptedClient("answer")
    assert ("in_flight", "answer") == (talk.turn(1).state, store.get("a").resume().text)


def interruption(talk: convo.Conversation) -> type[BaseException] | None:
    try:
        talk.send("first")
    except BaseException as error:  # noqa: BLE001 - it is looked at
        return type(error)
    return None
