"""The benchmark suite runs, and its figures have the shape that the tables need; speed itself is not tested."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from benchmarks import about, report, texts
from benchmarks.counting import counted
from benchmarks.parts import rounds, storage
from benchmarks.places import File
from benchmarks.plan import QUICK
from benchmarks.systems import ENTRIES, Entry, load
from benchmarks.workers import Failed, Worker, seed
from tests.processes import run

SYSTEMS = ("floor", "convo")
PARTS = ("turns", "resume", "crowd", "start", "export", "fork", "storage", "stable")


def test_quick_measures_everything_and_writes_it_down(tmp_path: Path):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGINNING}\nold\n{report.END}\nafter\n")
    done = run("-m", "benchmarks", "--quick", "--systems", *SYSTEMS, "--databases", "sqlite", "--write", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "performance.json").read_text())
    assert tuple(results) == PARTS
    for each in results.values():
        assert each["about"]["command"][:3] == ["python", "-m", "benchmarks"]
        assert each["about"]["versions"]["sqlalchemy"]
    figures = {name: each["figures"] for name, each in results.items()}
    for size in ("10", "100"):
        assert tuple(figures["turns"]["sqlite"][size]) == SYSTEMS
        for found in figures["turns"]["sqlite"][size].values():
            check_turns(found)
    assert figures["turns"]["sqlite"]["100"]["floor"]["ratio"] == 1
    assert figures["turns"]["sqlite"]["100"]["floor"]["statements"] == 3
    assert list(figures["resume"]["sqlite"]) == ["10", "100"]
    assert figures["crowd"]["sqlite"]["2"]["convo"]["times"] == QUICK.crowd_turns
    assert set(figures["start"]["sqlite"]) == {"python", *SYSTEMS}
    assert figures["export"]["sqlite"]["convo"]["messages_per_s"] > 0
    assert figures["fork"]["sqlite"]["convo"]["ratio"] > 0
    assert figures["storage"]["sqlite"]["20"]["tables"]["convo_messages"] > 0
    assert figures["storage"]["sqlite"]["packed"]["ratio"] <= figures["storage"]["sqlite"]["20"]["ratio"]
    assert figures["stable"]["stable"]["mean"] > figures["stable"]["minimal"]["mean"]
    for table in report.tables(results):
        assert table.title in done.stdout
        assert f"### {table.title}" in (tmp_path / "performance-tables.md").read_text()
        assert f"### {table.title}" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert "old" not in page.read_text().split(report.BEGINNING)[1].splitlines()


def check_turns(found: dict):
    assert found["times"] == QUICK.turns == sum(map(len, found["wall_ms"]))
    assert len(found["wall_ms"]) == QUICK.rounds
    assert 0 < found["median_ms"] <= found["p99_ms"]
    assert found["commits"] == 2
    assert found["prompt"] > 10
    assert 0 < found["rows"] < 200
    assert found["bytes_per_message"] > 200
    assert found["megabytes"] > 5


def test_a_run_of_one_part_keeps_the_others(tmp_path: Path):
    (tmp_path / "performance.json").write_text(json.dumps({"crowd": {"about": EMPTY, "figures": {}}}))
    done = run("-m", "benchmarks", "--quick", "--only", "stable", "--databases", "sqlite", "--write", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list(json.loads((tmp_path / "performance.json").read_text())) == ["crowd", "stable"]


EMPTY = {
    "date": "2026-01-01",
    "cpu": "x",
    "cores": 1,
    "python": "3",
    "sqlite": "3",
    "postgresql": None,
    "versions": {},
    "missing": {},
}


def test_a_system_whose_packages_are_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ENTRIES, "nobody", Entry("nobody", ("convo", "no-such-package")))
    assert about.missing(["floor", "nobody"]) == {"nobody": "no-such-package is not installed"}


def test_a_system_that_fails_is_told(tmp_path: Path):
    with pytest.raises(Failed, match="unable to open"):
        Worker("floor", f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    figures = {"sqlite": {"10": {"floor": {"failed": "why"}}}}
    (table, costs) = report.tables({"turns": {"about": EMPTY, "figures": figures}})
    assert table.rows == [["floor", "failed"]]
    assert table.note.endswith(" floor failed: why")
    assert costs.rows[0][1] == "failed"


def test_a_command_that_fails_leaves_the_worker_alive():
    with File() as place:
        (id,) = seed("floor", place, 4)
        with Worker("floor", place.url) as worker:
            with pytest.raises(Failed, match="FileNotFoundError"):
                worker.ask("export", id=id, file="/no/such/folder/file")
            assert worker.ask("turns", id=id, count=2, budget_s=9.0)["prompts"] == [5, 7]


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_seeded_is_what_is_exported(name: str, tmp_path: Path):
    with File() as place:
        (id, other) = seed(name, place, 6, 2)
        assert id != other
        session = load(name).open(place.url)
        file = tmp_path / "all.jsonl"
        assert session.export(id, str(file)) == 6
        assert session.turn(id, texts.question(3), texts.answer(3)) == 7
        assert session.export(id, str(file)) == 8
        session.close()
        written = file.read_text()
        assert all(text in written for text in texts.history(8))


def test_statements_commits_and_rows_are_counted(tmp_path: Path):
    with counted(f"sqlite:///{tmp_path / 'x.db'}") as counts:
        connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (1), (2)")
        connection.execute("BEGIN")
        connection.execute("SELECT a FROM t").fetchall()
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        connection.execute("UPDATE t SET a = 3")
        connection.execute("SELECT a FROM t").fetchall()
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM t")
        connection.execute("ROLLBACK")
        connection.close()
    assert vars(counts) == {"statements": 6, "commits": 2, "rows": 4}


def test_the_ratio_is_taken_round_by_round():
    assert rounds.ratio([[2, 2, 9], [], [8]], [[1], [5], [2]]) == 3
    assert rounds.ratio([[]], [[1]]) is None
    assert rounds.rotated("abc", 4) == ["b", "c", "a"]
    assert rounds.quantile(range(100), 0.99) == 99
    assert rounds.quantile([1, 2], 0.99) == 2


def test_the_room_of_tables_is_told_without_dbstat_too():
    with File() as place:
        seed("convo", place, 400)
        _, tables = storage.in_file(str(place.file))
        connection = sqlite3.connect(place.file)
        dropped = storage.by_dropping(connection)
        connection.close()
    assert dropped.keys() == tables.keys()
    for name, size in tables.items():
        assert dropped[name] == pytest.approx(size, rel=0.2, abs=8192)
