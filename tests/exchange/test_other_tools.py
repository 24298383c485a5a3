"""The exported tasks run by the tools that they are for, whose accuracy is cg_lab's, question by question."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cg_lab.exchange.export import ExportChoice, write_export
from cg_lab.exchange.formats import load_format
from cg_lab.results import Layout
from tests.reporting.answering import plan_images, plan_study

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {
    "inspect_ai": "CG_LAB_INSPECT_PYTHON",
    "lmms_eval": "CG_LAB_LMMS_EVAL_PYTHON",
    "mlcroissant": "CG_LAB_CROISSANT_PYTHON",
}
"""Name an interpreter that has a tool, where this one has it not."""


def find_python(tool: str) -> str:
    """Find an interpreter with a tool, which is no dependency of the project."""
    named = os.environ.get(VARIABLES[tool])
    if named is None and importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; {VARIABLES[tool]} names the python of an environment that has it")
    return named or sys.executable


@pytest.mark.slow
def test_loaded_weights_a_server_inspect_and_lmms_eval_answer_the_same() -> None:
    pytest.importorskip("openai", reason="`transformers serve` needs the package openai")
    tools = ["--inspect", find_python("inspect_ai"), "--lmms-eval", find_python("lmms_eval")]
    command = [sys.executable, str(ROOT / "benchmarks/other_tools.py"), *tools, "--questions", "24"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("24 of 24") == 8


@pytest.mark.slow
@pytest.mark.parametrize("boxes", [False, True])
def test_croissant_reads_every_table(boxes: bool, tmp_path: Path) -> None:
    python = find_python("mlcroissant")
    layout = Layout(tmp_path / "r")
    (tmp_path / "files").mkdir()
    plan = plan_images(layout, tmp_path / "files", boxes=boxes)
    write_export(layout, plan, load_format("croissant"), tmp_path / "c", ExportChoice(images="copy", form=None))
    code = (
        "import json, mlcroissant; opened = mlcroissant.Dataset(jsonld='croissant.json')\n"
        "sets = [one.uuid for one in opened.metadata.record_sets]\n"
        "print(json.dumps({name: sum(1 for _ in opened.records(name)) for name in sets}))"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path / "c", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["questions"] == sum(one.num_test for one in plan.catalogs[0].subsets if one.name == "ct-lung-mass")
    assert counts["arms"] == len(plan.cells)
    assert set(counts) == {"questions", "arms", "mixtures", "samples", "proofs", "coverage"}


@pytest.mark.slow
def test_images_that_did_not_travel_are_found_by_what_their_files_hold(tmp_path: Path) -> None:
    """inspect_ai lists the samples of a task whose images lie in a folder of the reader's own."""
    python = find_python("inspect_ai")
    layout = Layout(tmp_path / "r")
    (tmp_path / "files").mkdir()
    plan = plan_images(layout, tmp_path / "files")
    write_export(layout, plan, load_format("inspect"), tmp_path / "i", ExportChoice(images="reference", form=None))
    code = (
        "from task import cg_lab_s; from pathlib import Path\n"
        "found = [Path(one.input[-1].content[0].image).name for one in cg_lab_s().dataset]\n"
        "print(sorted(found)[0])"
    )
    told = {**os.environ, "CG_LAB_IMAGES": str(tmp_path / "files")}
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path / "i", capture_output=True, text=True, check=False, env=told
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0-")
    told.pop("CG_LAB_IMAGES")
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path / "i", capture_output=True, text=True, check=False, env=told
    )
    assert "images did not travel with these questions: CG_LAB_IMAGES=FOLDER" in done.stderr


def test_a_world_of_phantoms_has_no_files_to_refer_to(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "r")
    plan = plan_study(layout, "targets=[us-breast-mass]", "data.train_per_subset=24", "data.test_per_subset=12")
    write_export(layout, plan, load_format("inspect"), tmp_path / "i", ExportChoice(images="reference", form=None))
    lines = (tmp_path / "i" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["metadata"]["sha256"] for line in lines} == {""}
