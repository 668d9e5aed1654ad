"""The wheel and the source distribution hold the tree, all of it, at the names under which it is imported."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# Folder in the checkout -> folder that is installed.
MAPPED = {"textrl_env": "textrl_env", "agents": "textrl_env/agents", "reward_models": "textrl_env/reward_models"}
DEPENDENCIES = "dependencies.pth"


def package_files() -> dict[str, str]:
    """Every file of the package, as installed -> as in the checkout. `os.walk` does not follow the two symlinks."""
    files = {}
    for source, target in MAPPED.items():
        for folder, _, names in os.walk(ROOT / source):
            inside = Path(folder).relative_to(ROOT / source)
            if "__pycache__" not in inside.parts:
                files |= {
                    (Path(target) / inside / name).as_posix(): (Path(source) / inside / name).as_posix()
                    for name in names
                    if not name.startswith(".")
                }
    return files


def test_pyproject_lists_every_folder_that_is_a_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]

    found = {
        name.removesuffix("/__init__.py").replace("/", ".") for name in package_files() if name.endswith("__init__.py")
    }

    assert sorted(listed) == sorted(found)


@pytest.mark.parametrize("name", ["agents", "reward_models"])
def test_the_symlinks_lead_to_the_folders(name: str) -> None:
    link = ROOT / "textrl_env" / name

    assert link.is_symlink(), f"{link} is no symlink; see 'A checkout without symlinks' in CONTRIBUTING.md"
    assert link.resolve() == (ROOT / name).resolve()


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert all(pin.count("==") == 1 for pin in pins), pins
    # A local version such as 2.13.0+cpu would exist on few machines.
    assert not [pin for pin in pins if "+" in pin]
    pinned = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {need.split(">=")[0].lower() for group in groups for need in group if not need.startswith("textrl-env[")}
    assert names <= pinned, f"not in constraints.txt: {sorted(names - pinned)}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distribution and the wheel that was made from it.

    Built from a copy, because setuptools takes over what an earlier build left in build/ and *.egg-info. With the
    setuptools that is installed, so that the test needs no network.
    """
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")

    def ignore(path: str, names: list[str]) -> set[str]:
        return left_out(path, names) | ({"runs"} if Path(path) == ROOT else set())

    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=ignore)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "checkout")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_the_tree_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")

    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == set(package_files()), "pyproject.toml: see packages and package-data"


def test_the_source_distribution_holds_the_tree_once_with_its_licence(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}

    assert set(package_files().values()) <= names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith("tests/")]
    # A second copy of agents/ through the symlink would be a second place to edit.
    assert not [name for name in names if name.startswith(("textrl_env/agents", "textrl_env/reward_models"))]


@pytest.fixture(scope="module")
def installed(built: Path) -> tuple[Path, Path]:
    """An environment that got the package from the wheel only: its folder of packages, its folder of programs.

    torch and the other dependencies come from the environment that runs the tests, behind the wheel's own files and
    without that environment's .pth files, so that nothing leads back to the checkout.
    """
    folder = built / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-index", "--no-deps"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = Path(sysconfig.get_path("purelib", "posix_venv", {"base": str(folder)}))
    (packages / DEPENDENCIES).write_text(sysconfig.get_path("platlib") + "\n", encoding="utf-8")
    return packages, programs


def in_environment(installed: tuple[Path, Path], command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [str(installed[1] / program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_nothing_is_installed_beside_textrl_env(installed: tuple[Path, Path]) -> None:
    """A top-level `agents` or `reward_models` would overwrite other distributions' files."""
    top = {path.name for path in installed[0].iterdir() if path.suffix != ".dist-info"}

    assert top == {"textrl_env", DEPENDENCIES}


def test_every_module_can_be_imported_from_the_wheel(installed: tuple[Path, Path], tmp_path: Path) -> None:
    names = [name.removesuffix(".py").removesuffix("/__init__") for name in package_files() if name.endswith(".py")]
    modules = sorted(name.replace("/", ".") for name in names if not name.endswith("__main__"))
    code = (
        "import importlib, json, sys\n"
        "print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))"
    )

    done = in_environment(installed, ["python", "-c", code, *modules], tmp_path)

    assert done.returncode == 0, done.stderr
    files: dict[str, Any] = json.loads(done.stdout)
    assert {"textrl_env", "textrl_env.agents", "textrl_env.reward_models"} <= set(files)
    elsewhere = {name: file for name, file in files.items() if not Path(file).is_relative_to(installed[0])}
    assert not elsewhere


def test_the_command_line_starts_from_the_wheel(installed: tuple[Path, Path], tmp_path: Path) -> None:
    done = in_environment(installed, ["textrl", "--help"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout
