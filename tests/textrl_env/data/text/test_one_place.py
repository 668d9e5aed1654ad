"""A tokenizer is asked in one place: elsewhere nobody encodes, decodes or renders by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[4]
OWNERS = ("textrl_env/data/text/", "textrl_env/worlds/", "textrl_env/lm/loading/")
"""The room of text and ids; worlds, which define tokenizers of their own; the loader, which tries what it loads."""
CALLS = {
    "apply_chat_template",
    "batch_decode",
    "batch_encode_plus",
    "convert_ids_to_tokens",
    "convert_tokens_to_string",
}
OPTIONS = {"skip_special_tokens", "split_special_tokens", "add_special_tokens", "add_generation_prompt"}


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def asks_a_tokenizer(call: ast.Call) -> bool:
    """True for `tokenizer(…)`, `x.tokenizer.decode(…)`, any call of the names above or with their options."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("encode", "decode"):
        return last_name(call.func.value).endswith("tokenizer")
    name = last_name(call.func)
    return name in CALLS | {"tokenizer", "_tokenizer"} or any(option.arg in OPTIONS for option in call.keywords)


def places(source: str) -> Iterator[int]:
    return (
        node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and asks_a_tokenizer(node)
    )


def test_only_the_room_of_text_asks_a_tokenizer() -> None:
    files = [path for room in ("textrl_env", "agents", "reward_models") for path in (ROOT / room).rglob("*.py")]
    names = {path: path.relative_to(ROOT).as_posix() for path in files}
    assert len(files) > 200
    assert not [
        f"{name}:{line}"
        for path, name in names.items()
        if not name.startswith(OWNERS)
        for line in places(path.read_text(encoding="utf-8"))
    ]


def test_asking_one_by_hand_would_be_noticed() -> None:
    for source in (
        "tokenizer(texts)",
        "self.tokenizer.decode(ids)",
        "task.tokenizer.encode(text)",
        "x.apply_chat_template(messages)",
        "f(ids, skip_special_tokens=True)",
    ):
        assert list(places(source)) == [1]
    assert not list(places("data.decode('utf-8'); load_tokenizer(folder); text.encode(); judge.encode(a, b)"))
