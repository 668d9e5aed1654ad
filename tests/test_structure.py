"""The house rules that no linter knows: doors, one class a name, modules worth a file, plain names, docstrings."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ("textrl_env", "agents", "reward_models")
USERS = ("examples", "benchmarks", "docs", ".github")
# The faces of the packages and of the pipeline show what README, pages and scripts use; a room's door is smaller.
FACES = {"textrl_env", "textrl_env.agents", "textrl_env.pipeline", "textrl_env.reward_models"}
DOOR_SIZE = range(3, 13)
# The entry points of the command line are no library.
NO_DOOR = {"textrl_env.cli"}


def library_files() -> list[Path]:
    """Python files of the library; `rglob` does not follow the two symlinks."""
    return sorted(path for folder in LIBRARY for path in (ROOT / folder).rglob("*.py") if not _is_linked(path))


def _is_linked(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents)


def module_name(path: Path) -> str:
    """The name under which a file of the library is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "textrl_env" else ("textrl_env", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in library_files()}
MODULES = {module_name(path): path for path in TREES}
ROOMS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every module of ours that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in submodules if name in MODULES and name not in ROOMS]
            yield from ((node.lineno, name) for name in inner)
            if len(inner) < len(submodules):
                yield node.lineno, node.module


def passes_a_door(importer: str, module: str) -> bool:
    """True where `module` lies in a room that does not hold the importer, and is not the room's door."""
    room = module.rpartition(".")[0]
    return module not in ROOMS and room != "textrl_env" and not f"{importer}.".startswith(f"{room}.")


def test_rooms_import_each_other_through_doors() -> None:
    past = [
        f"{path.relative_to(ROOT)}:{line} {module}"
        for path, tree in TREES.items()
        for line, module in imported_modules(tree)
        if passes_a_door(module_name(path), module)
    ]
    assert not past


def test_examples_docs_and_benchmarks_import_through_doors() -> None:
    files = [path for folder in USERS for path in (ROOT / folder).rglob("*.py")]
    past = [
        f"{path.relative_to(ROOT)}:{line} {module}"
        for path in files
        for line, module in imported_modules(ast.parse(path.read_text(encoding="utf-8")))
        if passes_a_door("", module) or module.startswith("textrl_env.cli")
    ]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    past += [
        f"{page.relative_to(ROOT)} {module}"
        for page in pages
        if page.name != "CHANGELOG.md"
        for module in re.findall(r"^\s*from (textrl_env[\w.]*) import", page.read_text(encoding="utf-8"), re.M)
        if passes_a_door("", module)
    ]
    assert not past


def test_a_room_past_whose_door_somebody_reached_would_be_noticed() -> None:
    assert passes_a_door("textrl_env.agents.ppo", "textrl_env.agents.maths.policy_gradient")
    assert not passes_a_door("textrl_env.agents.ppo", "textrl_env.agents.maths")
    assert not passes_a_door("textrl_env.agents.maths.policy_gradient", "textrl_env.agents.maths.policy_gradient")
    assert not passes_a_door("textrl_env.agents.on_policy.loop", "textrl_env.agents.rollout")
    assert not passes_a_door("textrl_env.mdp.env", "textrl_env.errors")


@pytest.mark.parametrize("room", sorted(ROOMS - NO_DOOR))
def test_a_door_offers_three_to_twelve_names_that_are_there(room: str) -> None:
    door = __import__(room, fromlist=["__all__"])
    names = door.__all__

    assert room in FACES or len(names) in DOOR_SIZE, names
    missing = [name for name in names if getattr(door, name, None) is None]
    assert not missing
    assert "attach_stub" not in dir(door)


def test_a_class_name_is_defined_once() -> None:
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}


def test_a_folder_holds_at_most_twenty_modules() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in TREES:
        counts[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert max(counts.values()) <= 20, counts


def test_a_module_is_worth_a_file() -> None:
    """At most five have 40 lines or less; a Protocol may stand alone. None has more than 300."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path, tree in TREES.items()
        if path.name != "__init__.py" and not _has_protocol(tree)
    }
    assert max(lengths.values()) <= 300
    assert len(short := [name for name, length in lengths.items() if length <= 40]) <= 5, short


def _has_protocol(tree: ast.Module) -> bool:
    bases = (base for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases)
    return any("Protocol" in ast.unparse(base) for base in bases)


def test_the_formatter_has_no_exceptions() -> None:
    mark = "fmt: " + "skip"
    folders = (*LIBRARY, *USERS, "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if not _is_linked(path)]
    assert not [str(path) for path in files if mark in path.read_text(encoding="utf-8")]


def test_functions_take_at_most_four_positional_parameters() -> None:
    many = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and _n_positional(node) > 4
    ]
    assert not many


def _n_positional(node: ast.FunctionDef) -> int:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _words(text: str) -> set[str]:
    return set(text.split())


PRONOUNS = _words("""
each it its this that these those mine theirs ours own other others both one ones some any none who what which
whose everything nothing something anything me my
""")
PARTICIPLES = _words("""
found told given known kept made seen written left lost taken asked done said shown drawn held met sent spent
paid put thought begun gone grown hidden cut built brought caught felt heard laid led meant understood worn
broken driven fallen struck woken
""")
# Nouns, and the words of Gymnasium (terminated, truncated) and TRL (rejected).
NOUNS = {"seed", "speed", "feed", "need", "embed", "bed", "terminated", "truncated", "rejected"}


def is_pronoun_or_participle(name: str) -> bool:
    name = name.strip("_")
    if name in NOUNS:
        return False
    return name in PRONOUNS or name in PARTICIPLES or re.fullmatch(r"[a-z]{2,}ed", name) is not None


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a file binds: variables, parameters, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_are_nouns() -> None:
    names = [name for tree in TREES.values() for name in bound_names(tree)]
    bad = [name for name in names if is_pronoun_or_participle(name)]
    assert len(bad) < 0.005 * len(names), sorted(set(bad))


# First words that make a docstring hang on a name that stands elsewhere.
HANGING = _words("""
of as what whether how who which that this these those it its all each every both where when why whose some
any none by for from with without in on at to into under over if else not no because since
""")


def test_docstrings_start_with_a_verb_or_the_thing() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [
        text
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, documented) and (text := ast.get_docstring(node))
    ]
    hanging = [text for text in texts if (word := re.match(r"\W*([\w']+)", text)) and word[1].lower() in HANGING]
    assert len(hanging) < 0.01 * len(texts), [text[:60] for text in hanging]
