"""What the documents show is true: their code runs, and their commands do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pexpect
import pytest

import convo
from convo.formats import rows

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_blocks_run_in_order(page: Path, tmp_path: Path):
    program = "\n".join(blocks(page, "python"))
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (0, "") == (ran.returncode, ran.stderr)


def test_the_first_block_is_one_command_whose_chat_goes_on_when_run_again(tmp_path: Path):
    (line,) = blocks(ROOT / "README.md", "sh")[0].splitlines()
    command = line.rpartition(" && ")[2].replace(".venv/bin/convo", f"{sys.executable} -m convo")
    answers = [
        subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
        for _ in range(2)
    ]
    assert all(answers)
    with convo.Store(f"sqlite:///{os.environ['XDG_DATA_HOME']}/convo/convo.db") as store:
        assert answers == [f"{turn.reply.content}\n" for turn in store.get("hello").turns()]


def test_the_second_block_is_one_command_that_runs_the_tests():
    (line,) = blocks(ROOT / "README.md", "sh")[1].splitlines()
    assert line.endswith(" && .venv/bin/python -m pytest")


DURABILITY = ROOT / "docs" / "durability.md"
LONG_FORMS = re.findall(r"^python (-m tests\..*)$", "".join(blocks(DURABILITY, "sh")), re.MULTILINE)


@pytest.mark.parametrize("command", LONG_FORMS)
def test_the_commands_of_the_durability_page_run(command: str):
    """With small numbers: the long forms take minutes."""
    short = re.sub(r"\b\d+\b", lambda number: str(min(int(number[0]), 3)), command)
    expected = (0, "")
    if short.endswith(" disk"):
        short += " --calls ftruncate"
        expected = expected if shutil.which("strace") else (2, "strace is needed: install it\n")
    ran = subprocess.run([sys.executable, *short.split()], capture_output=True, text=True, cwd=ROOT)
    assert expected == (ran.returncode, ran.stderr)


def test_the_tree_of_the_branches_page_is_what_its_commands_lead_to():
    commands, drawn = re.split(r"(?<=tree brother\n)", blocks(ROOT / "docs" / "branches.md", "console")[0])
    for line in commands.splitlines():
        command = line.replace("$ convo", f"{sys.executable} -m convo")
        printed = pexpect.run(command, encoding="utf-8", timeout=60, dimensions=(24, 80))
    assert without_ids(drawn) == without_ids(printed)


@pytest.mark.parametrize("name", ["audit", "export"])
def test_the_commands_of_a_page_print_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVO_DATABASE_URL", "sqlite:///chats.db")
    for session in blocks(ROOT / "docs" / f"{name}.md", "console"):
        for command, *shown in (each.splitlines() for each in session.removeprefix("$ ").split("\n$ ")):
            words = re.sub(r"^(convo|python)\b", lambda word: PROGRAMS[word[0]], command)
            ran = subprocess.run(words, shell=True, capture_output=True, text=True)
            assert (command, without_ids("\n".join(shown))) == (command, without_ids(ran.stdout))


def test_the_export_page_names_every_key_of_a_line():
    page = (ROOT / "docs" / "export.md").read_text()
    for line in get_args(rows.AnyLine):
        keys = get_type_hints(line)
        kind = get_args(keys.pop("type"))[0]
        (told,) = re.findall(rf"^\| `{kind}` \|.*\|.*\|$", page, re.MULTILINE)
        assert [] == [each for each in keys if f"`{each}`" not in told and kind != "unlinked"], kind


PROGRAMS = {"python": sys.executable, "convo": f"{sys.executable} -m convo"}


def without_ids(drawn: str) -> list[str]:
    """Return the lines of a drawing, with the same id, digest and time in each."""
    changing = r"[0-9a-f]{8}-[0-9a-f]{4}\S*|[0-9a-f]{64}|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{3}Z)?"
    return [re.sub(changing, "0123", each).rstrip() for each in drawn.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [] == [target for target in targets if not (page.parent / target).exists()]


def test_every_release_of_the_changelog_has_changes():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert all("\n- " in section for section in text.split("\n## ")[1:])
