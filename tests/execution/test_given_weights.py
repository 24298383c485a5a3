"""A checkpoint that was trained elsewhere becomes a job's model by links, and only if it is what was planned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from cg_lab.execution.bench import Conduct, ModelBench, Surface
from cg_lab.execution.packs import Order
from cg_lab.execution.team import SOLO
from cg_lab.models.identity import identify_model
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.build import Run, build_plan
from cg_lab.results import Layout, read_finetune_result
from cg_lab.studies.results_union import copy_folder
from cg_lab.training.checkpoint_table import read_checkpoints


def write_weights(folder: Path, factor: float) -> Path:
    """Write a model that differs from the embedded one by a factor."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes((WEIGHTS / "config.json").read_bytes())
    weights = {name: part * factor for name, part in load_file(WEIGHTS / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder / "model.safetensors"


@pytest.fixture
def open_bench(tmp_path: Path) -> Callable[[], tuple[ModelBench, Surface]]:
    """Give what plans one checkpoint of `tmp_path/model` and opens a bench for it."""

    def open_bench() -> tuple[ModelBench, Surface]:
        table = tmp_path / "table.csv"
        table.write_text("target,arm,path,trained_on\nus-breast-mass,related,model,us-lung-mass:4;xray-breast-mass:4\n")
        study = read_study(
            [f"checkpoints={table}", "arms=[related]", f"results_dir={tmp_path / 'results'}", "tracking=none"]
        )
        catalog = read_catalog(study.data)
        study = read_checkpoints(study, catalog, None)
        plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_model(study.model))])
        order = Order(study=plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
        layout = Layout(tmp_path / "results")
        surface = Surface(plan=plan, order=order, layout=layout, threads=1, team=SOLO, jobs=plan.finetunes)
        return ModelBench(surface), surface

    return open_bench


def ignore(*_: object, **__: object) -> bool:
    return False


CONDUCT = Conduct(event=ignore, is_stopping=ignore, parts=1)  # type: ignore[arg-type]


def test_its_weights_are_linked_to_and_never_changed(
    tmp_path: Path, open_bench: Callable[[], tuple[ModelBench, Surface]]
) -> None:
    file = write_weights(tmp_path / "model", 1.01)
    before = file.read_bytes(), sorted(path.name for path in file.parent.iterdir())
    bench, surface = open_bench()
    (job,) = surface.plan.finetunes
    events: list[tuple[str, object]] = []
    bench.run(job, replace(CONDUCT, event=lambda name, **facts: events.append((name, facts.get("kind")))))
    model = surface.layout.weights(job.id)
    assert (model / "model.safetensors").resolve() == file
    assert not (model / "config.json").is_symlink()
    assert "elsewhere" in (model / "README.md").read_text()
    assert (model / "tokenizer.json").exists()
    result = read_finetune_result(surface.layout, job.id)
    assert result is not None
    assert (result.steps, result.samples, result.loss_last) == (None, None, None)
    assert events == [("checked", "whole")]
    assert (file.read_bytes(), sorted(path.name for path in file.parent.iterdir())) == before
    passed_on = tmp_path / "elsewhere" / "model"
    copy_folder(model, passed_on)  # half a model would pass for one; without a folder it is linked to anew
    assert not passed_on.exists()
    shutil.copytree(model, passed_on)
    copy_folder(passed_on, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: write_weights(file.parent, 1.02), "has other weights"),
        (lambda file: file.unlink(), "holds no model"),
    ],
)
def test_what_has_changed_since_it_was_planned_is_refused(
    tmp_path: Path,
    open_bench: Callable[[], tuple[ModelBench, Surface]],
    change: Callable[[Path], object],
    told: str,
) -> None:
    file = write_weights(tmp_path / "model", 1.01)
    bench, surface = open_bench()
    change(file)
    with pytest.raises(UserError, match=told):
        bench.run(surface.plan.finetunes[0], CONDUCT)
    assert not surface.layout.weights(surface.plan.finetunes[0].id).exists()


def test_the_untouched_model_is_no_checkpoint(
    tmp_path: Path, open_bench: Callable[[], tuple[ModelBench, Surface]]
) -> None:
    write_weights(tmp_path / "model", 1.0)
    bench, surface = open_bench()
    with pytest.raises(
        UserError, match=r"^checkpoints: .*model has the weights that it was given; nothing was trained"
    ):
        bench.run(surface.plan.finetunes[0], CONDUCT)
