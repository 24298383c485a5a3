"""What holds for the project as a whole: light imports, a clean tree, a sound lock, a complete wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from cg_lab.version import __version__

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "mlflow", "pandas", "matplotlib", "hydra", "scipy")


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def list_loaded(code: str, packages: tuple[str, ...]) -> list[str]:
    """Run code in a process of its own and tell which packages it loaded."""
    ask = f"import sys; print('loaded', *(name for name in {packages!r} if name in sys.modules))"
    done = run(sys.executable, "-c", f"{code}\n{ask}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def list_files() -> list[Path]:
    """List what git tracks or would track; without git, what a source distribution holds."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        kept = (path for path in ROOT.rglob("*") if not {".venv", "results"} & set(path.relative_to(ROOT).parts))
        return [path for path in kept if path.is_file() and "cache" not in str(path.relative_to(ROOT))]
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert listed.returncode == 0, listed.stderr
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def read_texts() -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in list_files():
        try:
            texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


@pytest.mark.parametrize("module", ["cg_lab", "cg_lab.cli", "cg_lab.config", "cg_lab.planning.plan", "cg_lab.results"])
def test_importing_what_every_command_needs_loads_no_heavy_package(module: str) -> None:
    assert list_loaded(f"import {module}", HEAVY) == []


def test_plan_status_and_a_quick_doctor_never_load_torch(tmp_path: Path) -> None:
    code = f"""
from cg_lab.cli import main
assert main(["plan", "results_dir={tmp_path}"]) == 0
assert main(["doctor", "--quick", "results_dir={tmp_path}"]) == 0
assert main(["status", "results_dir={tmp_path}"]) == 0
"""
    assert list_loaded(code, ("torch", "transformers", "mlflow", "pandas", "matplotlib")) == []
    recommends = (
        f'from cg_lab.cli import main\nassert main(["recommend", "ct-brain-mass", "results_dir={tmp_path}"]) == 0'
    )
    assert list_loaded(recommends, ("torch", "transformers", "mlflow", "matplotlib")) == []


def test_import_contracts_hold() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


def test_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_every_link_in_the_documentation_leads_to_a_file() -> None:
    broken: list[str] = []
    for name, text in read_texts().items():
        if not name.endswith(".md"):
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            target = link.split("#")[0]
            if not re.match(r"[a-z]+:", link) and target and not (ROOT / name).parent.joinpath(target).exists():
                broken.append(f"{name}: {link}")
    assert broken == []


def test_no_file_names_a_place_of_one_machine_or_a_package_index() -> None:
    place = re.compile(r"(?<![\w.])/(?:home|root|Users|work|mnt)/[\w.]+")
    index = re.compile(r"https?://\S*(?:/simple\b|/whl\b|artifactory|nexus|npmjs|pythonhosted)")
    found = [
        f"{name}: {match.group()}"
        for name, text in read_texts().items()
        for pattern in (place, index)
        for match in pattern.finditer(text)
        if name != "tests/test_project.py"
    ]
    assert found == []


def test_results_are_kept_out_of_git() -> None:
    assert [path.name for path in list_files() if path.is_relative_to(ROOT / "results")] == ["README.md"]


def test_lock_pins_each_package_once_and_names_no_place() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0].lower() for line in lines]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []
    assert len(names) == len(set(names))
    assert "torch==2.13.0" in lines


def test_lock_pins_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {normalize(line.split("==")[0]) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert {normalize(re.split(r"[\[<>=]", requirement)[0]) for requirement in direct} - pinned == set()


def normalize(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_no_dependency_brings_torchvision() -> None:
    """A torchvision that does not fit torch keeps transformers from importing LLaVA."""
    pinned = (ROOT / "requirements.lock").read_text().lower()
    assert "torchvision" not in pinned
    assert "medmnist" not in pinned


def test_make_lists_every_target_that_the_documentation_names() -> None:
    listed = {line.split()[0] for line in run("make", "help").stdout.splitlines()}
    named = {
        target
        for name, text in read_texts().items()
        if name.endswith(".md")
        for target in re.findall(r"(?:`|\$ |^|&& )make ([a-z][a-z-]*)", text, flags=re.MULTILINE)
    }
    assert named
    assert named <= listed


@pytest.mark.slow
def test_wheel_holds_configuration_weights_and_templates_and_works_alone(tmp_path: Path) -> None:
    build = ("-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(tmp_path), ".")
    built = run(sys.executable, *build)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    data = [path for path in list_files() if path.is_relative_to(ROOT / "cg_lab") or path.is_relative_to(ROOT / "conf")]
    expected = {
        str(path.relative_to(ROOT)) if path.is_relative_to(ROOT / "cg_lab") else f"cg_lab/{path.relative_to(ROOT)}"
        for path in data
    }
    assert expected <= names
    assert any(name.endswith(".safetensors") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "conf/", "benchmarks/", "docs/", "tools/"))]
    done = subprocess.run(
        [sys.executable, "-c", "import cg_lab.config.folder as folder; print(folder.find_config_dir())"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert Path(done.stdout.strip()) == tmp_path / "installed" / "cg_lab" / "conf"


def test_the_citation_is_of_this_version_and_names_the_papers_that_the_readme_names() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")
    papers = [part["identifiers"][0]["value"] for part in citation["references"]]
    assert sorted(papers) == sorted(set(re.findall(r"arXiv:[\d.]+\d", readme)))
