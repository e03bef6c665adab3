"""What random stores are exported as for training has the shapes of those who train, and comes back where it can.

``python -m tests.test_training --turns 1000`` takes that many turns.
"""

from __future__ import annotations

import argparse
import io
import itertools
import random
import sys
from collections import Counter
from typing import Any

import pytest

import convo
from convo.audits import EVERYONE
from tests.auditing import WORDS, Moody, RandomStore
from tests.test_formats import assert_openai, assert_preference, assert_sharegpt, rows
from tests.transferring import imported, unsound

SHAPES = {
    "openai": lambda row: assert_openai(row["messages"], weights=True),
    "dpo": assert_preference,
    "sharegpt": assert_sharegpt,
}


def written(store: convo.Store, form: str) -> str:
    file = io.BytesIO()
    store.export(file, format=form, owner=EVERYONE)
    return file.getvalue().decode()


def check(store: convo.Store, counts: Counter[str]) -> None:
    """Compare each form with its shape; read it back where it is read, and once more; count lines."""
    for form, check_shape in SHAPES.items():
        file = written(store, form)
        for row in rows(file):
            check_shape(row)
            counts[form] += 1
        if form != "dpo" and file:
            check_read(form, file)


def check_read(form: str, file: str) -> None:
    """Import a file without and with effect, and once more; what is exported then says the same, but for weights."""
    with convo.Store("sqlite://") as other:
        dry, _ = imported(other, file.encode(), dry_run=True)
        assert [] == list(other.heads())
        report, _ = imported(other, file.encode())
        assert (dry.texts, 0, {}) == (report.texts, report.refused, report.dropped)
        again, _ = imported(other, file.encode())
        assert (0, len(rows(file))) == (again.new, again.present)
        assert [] == unsound(other)
        came = {said(row) for row in rows(written(other, form))}
        assert {said(row) for row in rows(file)} - came == {said(row) for row in rows(file) if not alternates(row)}


def said(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return who says what in a line."""
    if "messages" in row:
        return tuple((each["role"], each["content"]) for each in row["messages"])
    return tuple((each["from"], each["value"]) for each in row["conversations"])


def alternates(row: dict[str, Any]) -> bool:
    """Return whether two texts of one side never follow each other, as an opening follows examples."""
    sides = [side for side, _ in said(row)]
    return all(one != other for one, other in itertools.pairwise(sides))


def turns_of(store: convo.Store) -> int:
    return sum(each.turns for each in store.verify())


def done(store: convo.Store, seed: int) -> convo.Store:
    """Return a store in which people did things at random, and chose answers of one conversation."""
    rng = random.Random(seed)
    RandomStore(store, rng).run(50)
    store.client = Moody(rng)
    talk = store.create(context=rng.choice([None, "Be brief."]), examples=[("in", "out")], input_token_limit=200)
    for number in range(10):
        reply = talk.send(f"{rng.choice(WORDS)} {number}", candidate_count=rng.randint(1, 4))
        if rng.random() < 0.7:
            talk.choose(rng.randrange(len(reply.candidates)))
    return store


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_for_training_has_its_shape_and_comes_back(seed: int):
    counts: Counter[str] = Counter()
    with convo.Store("sqlite://") as store:
        check(done(store, seed), counts)
    assert min(counts[form] for form in SHAPES) > 0


def main() -> None:
    """Check random stores until there were so many turns."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    turns = seed = 0
    while turns < asked.turns:
        seed += 1
        with convo.Store("sqlite://") as store:
            check(done(store, seed), counts)
            turns += turns_of(store)
    sys.stdout.write(f"{turns:,} turns of {seed} stores: lines {dict(counts)}\n")


if __name__ == "__main__":
    main()
