"""The files of an SQLite store: for their user's eyes only, and typed errors where they cannot be used."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import convo
from convo.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from tests.processes import run

NOBODY = 65534
PAGE = 4096
MAGIC = b"SQLite format 3\0"

NAMES = """
import sys, convo
with convo.Store(sys.argv[1]) as store:
    print([each.name for each in store.list()])
"""

Spoil = Callable[[Path], object]


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def stored(shared: Path) -> Path:
    """Return the file of a store with one conversation, which is closed."""
    file = shared / "chats.db"
    fill(file)
    for ending in (".lock", ".lock.next"):
        (shared / f"chats.db{ending}").unlink()
    return file


def fill(file: Path) -> None:
    with convo.Store(f"sqlite:///{file}") as store:
        store.create(name="kept", messages=["one", "two"])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_store_is_for_its_user_only(tmp_path: Path, umask: int):
    folder = tmp_path / "new"
    with masked(umask), convo.Store(f"sqlite:///{folder / 'x.db'}") as store:
        store.create()
        assert (0o700, {0o600}) == (mode(folder), {mode(each) for each in folder.iterdir()})


def test_a_new_store_has_five_files_while_it_is_open(tmp_path: Path):
    folder = tmp_path / "new"
    with convo.Store(f"sqlite:///{folder / 'x.db'}") as store:
        store.create()
        assert ["x.db", "x.db-shm", "x.db-wal", "x.db.lock", "x.db.lock.next"] == sorted(
            each.name for each in folder.iterdir()
        )


def test_folders_on_the_way_are_made(tmp_path: Path):
    convo.Store(f"sqlite:///{tmp_path / 'a' / 'b' / 'c' / 'x.db'}").close()
    assert (tmp_path / "a" / "b" / "c" / "x.db").is_file()


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path):
    tmp_path.chmod(0o751)
    convo.Store(f"sqlite:///{tmp_path / 'x.db'}").close()
    assert 0o751 == mode(tmp_path)


def test_a_file_that_was_there_keeps_its_mode(tmp_path: Path):
    (tmp_path / "x.db").touch(0o640)
    convo.Store(f"sqlite:///{tmp_path / 'x.db'}").close()
    assert 0o640 == mode(tmp_path / "x.db")


def test_an_empty_file_becomes_a_store(tmp_path: Path):
    (tmp_path / "x.db").touch()
    with convo.Store(f"sqlite:///{tmp_path / 'x.db'}") as store:
        assert [] == store.list()


def text_file(file: Path) -> None:
    file.write_text("This is no database.\n" * 500)


def short_text_file(file: Path) -> None:
    file.write_text("no\n")


def garbage_with_the_right_header(file: Path) -> None:
    file.write_bytes(MAGIC + bytes(range(256)) * 40)


def nothing_but_the_header(file: Path) -> None:
    file.write_bytes(MAGIC)


def first_page_only(file: Path) -> None:
    fill(file)
    os.truncate(file, PAGE)


def a_page_is_missing(file: Path) -> None:
    fill(file)
    os.truncate(file, file.stat().st_size - PAGE)


def garbage_after_the_first_page(file: Path) -> None:
    fill(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:PAGE] + b"\x5a" * (len(whole) - PAGE))


@pytest.mark.parametrize(
    "spoil",
    [
        text_file,
        short_text_file,
        garbage_with_the_right_header,
        nothing_but_the_header,
        first_page_only,
        a_page_is_missing,
        garbage_after_the_first_page,
    ],
)
def test_what_is_no_store_is_told_and_left_alone(tmp_path: Path, spoil: Spoil):
    file = tmp_path / "chats.db"
    spoil(file)
    before = file.read_bytes()
    error = failure(file)
    assert (StoreCorrupt, True, before) == (type(error), is_told(error, file), file.read_bytes())


def test_a_folder_is_no_store(tmp_path: Path):
    error = failure(tmp_path)
    assert (StoreUnavailable, True) == (type(error), is_told(error, tmp_path))


@pytest.mark.parametrize("way", ["x.db", "folder/x.db"])
def test_a_store_cannot_be_made_inside_a_file(tmp_path: Path, way: str):
    (tmp_path / "file").touch()
    error = failure(tmp_path / "file" / way)
    assert (StoreUnavailable, True) == (type(error), is_told(error, tmp_path / "file" / way))


read_only = pytest.mark.parametrize(
    ("file_mode", "folder_mode"),
    [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555)],
    ids=["read-only file", "read-only folder", "both"],
)


@read_only
def test_a_store_that_cannot_be_written_is_told(stored: Path, file_mode: int, folder_mode: int):
    with protected(stored, file_mode, folder_mode):
        error = failure(stored)
    assert (StoreReadOnly, True) == (type(error), is_told(error, stored))


@read_only
def test_nothing_is_stored_in_a_store_that_cannot_be_written(stored: Path, file_mode: int, folder_mode: int):
    with protected(stored, file_mode, folder_mode):
        failure(stored)
    with convo.Store(f"sqlite:///{stored}") as store:
        assert ["kept"] == [each.name for each in store.list()]


def test_a_store_that_cannot_be_read_is_told(stored: Path):
    with protected(stored, 0o000, 0o777):
        error = failure(stored)
    assert (StoreUnavailable, True) == (type(error), is_told(error, stored))


def test_a_store_in_a_folder_that_cannot_be_entered_is_told(stored: Path):
    with protected(stored, 0o666, 0o000):
        error = failure(stored)
    assert (StoreUnavailable, True) == (type(error), is_told(error, stored))


def test_a_store_that_cannot_be_created_is_told(shared: Path):
    with protected(shared, 0o555, 0o555):
        error = failure(shared / "chats.db")
    assert (StoreUnavailable, True, []) == (type(error), is_told(error, shared / "chats.db"), list(shared.iterdir()))


def test_a_store_can_be_written_when_its_folder_can_again(stored: Path):
    with protected(stored, 0o666, 0o555):
        failure(stored)
    with convo.Store(f"sqlite:///{stored}") as store:
        store.create(name="later")
        assert ["later", "kept"] == [each.name for each in store.list()]


def test_opening_a_store_twice_in_a_process_keeps_its_locks(tmp_path: Path):
    """A handle on the file that SQLite knows nothing of would drop them when it is closed."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with convo.Store(url) as store:
        store.create(name="one")
        convo.Store(url).close()
        run("-c", NAMES, url)
        store.create(name="other")
        assert "['other', 'one']\n" == run("-c", NAMES, url).stdout


def failure(file: Path) -> StoreError:
    """Open a store that cannot be used, read it and write to it; return what comes of that."""
    with pytest.raises(StoreError) as failed:
        use(file)
    return failed.value


def use(file: Path) -> None:
    with convo.Store(f"sqlite:///{file}") as store:
        store.list()
        store.create(name="more")


def is_told(error: StoreError, file: Path) -> bool:
    """Return whether an error is one line that names the file, and says what to do after a colon."""
    text = str(error)
    return str(file) in text and "\n" not in text and ": " in text.partition(str(file))[2]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@contextlib.contextmanager
def masked(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def protected(file: Path, file_mode: int, folder_mode: int) -> Iterator[None]:
    """Change who may do what with a file and its folder, and be a user without privileges meanwhile."""
    folder = file if file.is_dir() else file.parent
    file.chmod(file_mode)
    folder.chmod(folder_mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        file.chmod(0o755 if file.is_dir() else 0o644)
