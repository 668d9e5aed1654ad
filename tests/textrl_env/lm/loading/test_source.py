"""The package, its examples and benchmarks load models at one place, and hold nothing that could run their code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
LIBRARY = ("textrl_env", "agents", "reward_models")
GATE = "textrl_env/lm/loading"
LOADERS = {"from_pretrained", "from_config", "get_class_from_dynamic_module"}
OUR_CLASSES = {"RewardModel", "RewardEnsemble", "ActorCriticLM", "LanguageModelJudge"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# They run in the Python of TRL, where this package is not, on folders that the benchmark itself wrote.
TRL_PYTHON = {"benchmarks/small_world/trl_ppo.py", "benchmarks/iteration/job.py"}
# It converts an archive whose digest is pinned, from GGUF, to a folder that goes through the gate.
PINNED = {"examples/data/smollm2.py"}


def source_files() -> list[Path]:
    folders = [ROOT / name for name in (*LIBRARY, "examples", "benchmarks")]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    return [file for file in files if not any(parent.is_symlink() for parent in file.parents)]


def faults(source: str, place: str) -> Iterator[str]:
    """Yields what a source file may not do, with its line."""
    past_gate = not place.startswith(GATE) and place not in TRL_PYTHON | PINNED
    for node in ast.walk(ast.parse(source)):
        fault = code_fault(node) or (gate_fault(node) if past_gate else "")
        if fault:
            yield f"{place}:{getattr(node, 'lineno', 0)} {fault}"


def code_fault(node: ast.AST) -> str:
    """What could run code that a file holds."""
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            modules = {getattr(node, "module", None) or "", *(alias.name for alias in names)}
            return "unpickles" if UNPICKLERS & {name.partition(".")[0] for name in modules} else ""
        case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__")):
            return "evaluates"
        case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
            return "unpickles"
        case ast.keyword(arg="trust_remote_code" | "allow_pickle", value=value):
            return "" if ast.unparse(value) == "False" else "trusts a file"
        case ast.keyword(arg="weights_only", value=value):
            return "" if ast.unparse(value) == "True" else "unpickles"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"), keywords=keywords):
            return "" if "allow_pickle" in {keyword.arg for keyword in keywords} else "may unpickle"
    return ""


def gate_fault(node: ast.AST) -> str:
    """What loads a model, a tokenizer or weights in another place than the gate."""
    match node:
        case ast.ImportFrom(module=str(module), names=names) if module.startswith("safetensors"):
            return "reads weights" if "safe_open" in {alias.name for alias in names} else ""
        case ast.Attribute(value=receiver, attr=attribute) if attribute in LOADERS:
            name = ast.unparse(receiver).rpartition(".")[2]
            return "" if name in OUR_CLASSES else "loads past the gate"
        case ast.Attribute(value=receiver, attr="from_file" | "from_buffer" | "from_str"):
            return "loads past the gate" if ast.unparse(receiver).endswith(("Tokenizer", "TokenizerFast")) else ""
    return ""


def test_models_are_loaded_at_one_place_and_nothing_unpickles_or_evaluates() -> None:
    files = source_files()
    assert len(files) > 250
    places = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}
    assert not [fault for place, source in places.items() for fault in faults(source, place)]
    assert places.keys() >= TRL_PYTHON | PINNED


@pytest.mark.parametrize(
    "source",
    [
        "AutoModelForCausalLM.from_pretrained(folder)",
        "load = transformers.AutoTokenizer.from_pretrained",
        "kind.from_pretrained(folder)",
        "AutoModelForCausalLM.from_config(config)",
        "peft.PeftModel.from_pretrained(model, folder)",
        "Tokenizer.from_file('tokenizer.json')",
        "torch.load(file, weights_only=True)",
        "import pickle",
        "from joblib import load",
        "load_config(folder, trust_remote_code=trust)",
        "np.load(file)",
        "from safetensors import safe_open",
        "eval(text)",
    ],
)
def test_a_way_past_the_gate_would_be_noticed(source: str) -> None:
    assert list(faults(source, "agents/ppo.py"))
