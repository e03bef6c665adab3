"""What the package shows to the world, what it costs to import, and the shape that its source has to keep."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import convo
from convo import errors

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "convo").rglob("*.py"))
MODULES = [".".join(path.with_suffix("").relative_to(ROOT).parts).removesuffix(".__init__") for path in SOURCES]
MODULES = [name for name in MODULES if not name.endswith("__main__")]  # which runs the program
HEAVY = ["sqlalchemy", "alembic", "pydantic", "httpx", "anyio", "rich", "prompt_toolkit", "typer"]
LONGEST_FILE, LONGEST_FUNCTION = 400, 40

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)


def python(code: str) -> str:
    """Return what `code` prints in a fresh interpreter."""
    found = run("-c", code)
    assert (0, "") == (found.returncode, found.stderr)
    return found.stdout.strip()


def names_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ---- the public names


def test_the_public_names_are_sorted_and_stand_once():
    assert sorted(set(convo.__all__)) == convo.__all__


def test_dir_shows_the_public_names():
    assert convo.__all__ == dir(convo)


@pytest.mark.parametrize("name", convo.__all__)
def test_a_public_name_is_the_one_thing_of_that_name(name: str):
    found = getattr(convo, name)
    if name not in ("__version__", "types"):
        assert not isinstance(found, ModuleType)
        assert name == found.__name__


def test_what_type_checkers_see_is_what_there_is():
    tree = ast.parse(Path(str(convo.__file__)).read_text(encoding="utf-8"))
    seen = {name.asname for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) for name in each.names}
    assert set(convo.__all__) == seen - {None}


@pytest.mark.parametrize("first", sorted(set(convo._HOMES)))
def test_chat_stays_a_function_whatever_was_imported_first(first: str):
    assert "function" == python(f"import {first}\nimport convo\nprint(type(convo.chat).__name__)")


def test_a_star_import_gives_the_public_names():
    assert "True" == python("import convo\nfrom convo import *\nprint(set(convo.__all__) <= set(dir()))")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'convo' has no attribute 'nothing'$"):
        convo.nothing  # noqa: B018 - looking it up is the point


@pytest.mark.parametrize("name", [name for name in convo.__all__ if name != "__version__"])
def test_a_public_name_has_a_docstring_of_its_own(name: str):
    found = getattr(convo, name)
    own = inspect.getdoc(found) if inspect.isfunction(found) else found.__doc__
    assert own
    assert not own.startswith(f"{name}(")  # a dataclass without a docstring gets its signature


# ---- errors


def drawn() -> list[tuple[str, str]]:
    """Return the errors of the tree in the docstring of convo.errors, each with the names that are its bases."""
    found: list[tuple[str, str]] = []
    path: list[str] = []
    for line in str(errors.__doc__).splitlines():
        match = re.match(r" *((?:[│ ] {3})*)(?:[├└]── )?([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if match and ("── " in line or line.strip() == "ConvoError"):
            depth = (len(line) - len(line.lstrip(" │├└─")) - 4) // 4
            path[depth:] = [match[2]]
            bases = [path[depth - 1] if depth else "Exception", *([match[3]] if match[3] else [])]
            found.append((match[2], " ".join(bases)))
    return found


def defined() -> list[type[BaseException]]:
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, BaseException)]


def test_the_drawn_tree_is_the_one_of_the_classes():
    classes = [each for each in defined() if issubclass(each, errors.ConvoError)]
    assert sorted((each.__name__, " ".join(base.__name__ for base in each.__bases__)) for each in classes) == sorted(
        drawn()
    )


def test_every_error_and_warning_is_public():
    assert set() == {each.__name__ for each in defined()} - set(convo.__all__)


def test_whether_to_try_again_is_told_by_every_error():
    assert {True, False} == {each.retryable for each in defined() if issubclass(each, errors.ConvoError)}


# ---- importing


@pytest.mark.parametrize(
    "module", ["convo", "convo.testing", "convo.errors, convo.values, convo.prompt, convo.options"]
)
def test_importing_loads_nothing_heavy(module: str):
    assert "[]" == python(f"import sys, {module}\nprint([name for name in {HEAVY} if name in sys.modules])")


def test_importing_reads_no_environment_and_opens_nothing():
    code = "import sys\nsys.addaudithook(lambda name, given: seen.append(name))\nseen = []\nimport convo\n"
    code += "print([name for name in seen if name.startswith(('socket', 'sqlite3', 'subprocess'))])"
    assert "[]" == python(code)


IMPORTER = """
import importlib, os, sys
import alembic.command, anyio, factory, prompt_toolkit, rich.console, sqlalchemy.orm, typer
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:  # which has what others made, and nothing of convo's
        importlib.import_module(module)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(module)
"""


def test_each_module_can_be_imported_first_and_warns_of_nothing():
    found = run("-W", "error", "-c", IMPORTER, *MODULES)
    assert (0, "", "") == (found.returncode, found.stdout, found.stderr)


# ---- the shape of the source


def parsed(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ast.parse(path.read_text(encoding="utf-8"))


def definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield what a module or a class defines for others: no name with an underscore, and nothing within a function."""
    for each in body:
        if isinstance(each, Definition) and not each.name.startswith("_"):
            yield each
            if isinstance(each, ast.ClassDef):
                yield from definitions(each.body)


def lines_of(function: Function) -> int:
    """Return how many lines a function has, its signature and docstring included."""
    return (function.end_lineno or 0) - function.lineno + 1


def test_every_module_has_a_docstring():
    assert [] == [names_of(path) for path in SOURCES if not ast.get_docstring(parsed(path))]


def test_everything_public_in_the_source_has_a_docstring():
    bare = [
        f"{names_of(path)}: {each.name}"
        for path in SOURCES
        for each in definitions(parsed(path).body)
        if not ast.get_docstring(each) and each.name not in ("Meta", "Params")  # factory-boy's
    ]
    assert [] == bare


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {names_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {} == {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{names_of(path)}: {each.name}": lines_of(each)
        for path in SOURCES
        for each in ast.walk(parsed(path))
        if isinstance(each, Function)
    }
    assert {} == {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}


def test_imports_point_down_only(tmp_path: Path):
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    found = run("-c", code, "--cache-dir", str(tmp_path))
    assert (0, True) == (found.returncode, "0 broken" in found.stdout), found.stdout
