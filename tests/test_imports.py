"""What the environment may import: neither torch nor the packages that build on it."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# As if these were not installed. The finder comes first, so that it also stops what is there.
REFUSE = """
import sys
HEAVY = {"torch", "transformers", "tokenizers", "stable_baselines3", "safetensors", "tensorboard",
         "matplotlib", "jinja2", "rich", "tyro"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is refused by this test", name=name)
sys.meta_path.insert(0, Refuse())
"""

ENUMERABLE_WORLD = """
import gymnasium
import textrl_env
from textrl_env.worlds import EnumerableWorld

world = EnumerableWorld()
env = gymnasium.make("TextRL/TextGen-v0", prompts=world.prompts, reward=world.reward, tokenizer=world.tokenizer,
                     max_new_tokens=world.horizon, include_text=True)
env.reset(seed=0)
env.action_space.seed(0)
terminated = truncated = False
total = 0.0
while not (terminated or truncated):
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    total += reward
assert terminated and not truncated
assert abs(total - world.reward([info["prompt"]], [info["completion"]])[0]) < 1e-9

envs = gymnasium.make_vec("TextRL/TextGen-v0", num_envs=3, prompts=world.prompts, reward=world.reward,
                          tokenizer=world.tokenizer, max_new_tokens=world.horizon)
envs.reset(seed=0)
assert envs.step(envs.action_space.sample())[1].shape == (3,)
"""

SUPPORT_DESK = """
import string
import numpy as np
from textrl_env import TextGenEnv
from textrl_env.worlds import support_desk

class CharacterTokenizer:
    pad_token_id = eos_token_id = 0
    def __len__(self):
        return 1 + len(string.printable)
    def encode(self, text, *, add_special_tokens=True):
        return [1 + string.printable.index(character) for character in text]
    def decode(self, token_ids, *, skip_special_tokens=False):
        return "".join(string.printable[token - 1] for token in token_ids if token)

tokenizer = CharacterTokenizer()
env = TextGenEnv(support_desk.prompts(8, seed=0), support_desk.gold_reward, tokenizer,
                 max_new_tokens=400, include_text=True)
_, info = env.reset(seed=0)
best = support_desk.best_completion(info["prompt"], np.random.default_rng(0))
for token in [*tokenizer.encode(best), tokenizer.eos_token_id]:
    _, reward, terminated, _, info = env.step(token)
assert terminated and abs(reward - 1.0) < 1e-9, (terminated, reward, info)
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: this one has long imported torch."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "code", ["import textrl_env", ENUMERABLE_WORLD, SUPPORT_DESK], ids=["import", "enumerable world", "support desk"]
)
def test_the_environment_works_with_only_the_core_installed(code: str, tmp_path: Path) -> None:
    done = run(REFUSE + code, tmp_path)

    assert done.returncode == 0, done.stderr


def test_the_refusal_refuses(tmp_path: Path) -> None:
    done = run(REFUSE + "import textrl_env.reference", tmp_path)

    assert "ModuleNotFoundError: torch is refused by this test" in done.stderr


@pytest.mark.parametrize("package", ["textrl_env", "textrl_env.agents", "textrl_env.reward_models"])
def test_every_name_that_a_package_offers_is_there(package: str) -> None:
    """Names are loaded on first use, so a wrong entry would show only then."""
    module = importlib.import_module(package)

    missing = [name for name in module.__all__ if not hasattr(module, name)]

    assert module.__all__
    assert not missing


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_imports_point_in_the_agreed_direction() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("textrl_env/brand_new.py", "textrl_env.agents.maths.policy_gradient"),
        ("textrl_env/worlds/brand_new.py", "textrl_env.reward_models"),
        ("textrl_env/__init__.py", "textrl_env.agents"),
        ("agents/brand_new.py", "textrl_env.reward_models"),
        ("reward_models/brand_new.py", "textrl_env.agents"),
        ("agents/brand_new.py", "textrl_env.cli"),
        ("textrl_env/brand_new.py", "textrl_env.cli"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(tmp_path: Path, importer: str, imported: str) -> None:
    """Also in modules that no list names, and through the symlinks to agents/ and reward_models/."""
    for folder in ("textrl_env", "agents", "reward_models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / importer).open("a") as file:
        file.write(f"\nimport {imported}\n")

    done = lint_imports(tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    module = importer.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert f"{module} -> {imported} " in done.stdout.replace("\n", " "), done.stdout
