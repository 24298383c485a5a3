"""Checkpoints that were trained elsewhere: a table declares what each saw, and is held against catalogue and files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.samples import Split
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.errors import UserError
from cg_lab.models.identity import identify_model
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.build import Run, build_plan, describe
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, read_plan, write_plan
from cg_lab.study import Study
from cg_lab.training.checkpoint_table import read_checkpoints

TARGET, SOURCES, OTHER = "us-breast-mass", "us-lung-mass:8;xray-breast-mass:8", "ct-brain-side:16"
HEAD = "target,arm,seed,path,trained_on"
Line = tuple[object, ...]
RELATED: Line = (TARGET, "related", 0, "one", SOURCES)
UNRELATED: Line = (TARGET, "unrelated", 0, "two", OTHER)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(read_study([]).data)


@pytest.fixture
def read(tmp_path: Path, catalog: Catalog) -> Callable[..., Study]:
    """Give what writes a table beside two folders of weights and reads it."""
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights %d" % number)

    def read(lines: Sequence[Line] | str, *, name: str = "table.csv", head: str = HEAD) -> Study:
        text = lines if isinstance(lines, str) else "\n".join([head, *(",".join(map(str, line)) for line in lines)])
        (tmp_path / name).write_text(text, encoding="utf-8")
        study = read_study([f"checkpoints={tmp_path / name}", f"results_dir={tmp_path / 'results'}"])
        return read_checkpoints(study, catalog, tmp_path)

    return read


def plan_from(study: Study, catalog: Catalog) -> Plan:
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_model(study.model))])


def test_a_table_is_planned_proved_and_judged_as_what_was_trained_here(
    read: Callable[..., Study], catalog: Catalog, tmp_path: Path
) -> None:
    lines = [RELATED, UNRELATED, (TARGET, "related", 7, "two", SOURCES), (TARGET, "ceiling", 0, "two", f"{TARGET}:9")]
    study = read(lines)
    assert (study.targets, study.seeds, study.study) == ((TARGET,), (0, 7), "phantom_compositional_checkpoints")
    plan = plan_from(study, catalog)
    (question,) = plan.contrasts
    assert question.id == f"{TARGET}/us-lung-mass+xray-breast-mass"
    assert question.fully_covered
    trained = {(cell.arm, cell.seed): cell.proof for cell in plan.cells if cell.arm.traits.model == "own"}
    assert set(trained) == {(Arm.RELATED, 0), (Arm.RELATED, 7), (Arm.UNRELATED, 0), (Arm.CEILING, 0)}
    assert [proof.target_absent for proof in trained.values()] == [arm is not Arm.CEILING for arm, _ in trained]
    assert {proof.num_train for (arm, _), proof in trained.items() if arm is not Arm.CEILING} == {16}
    assert {cell.arm for cell in plan.cells} >= {Arm.ZERO_SHOT, Arm.BLIND, Arm.SOURCES}
    assert all(job.schedule.samples == job.schedule.steps == 0 for job in plan.finetunes)
    paths = {Path(job.weights.rpartition("@")[0]) for job in plan.finetunes}
    assert paths == {tmp_path / "one", tmp_path / "two"}
    layout = Layout(tmp_path / "results")
    write_plan(layout, plan)
    again = read_plan(layout.plan(plan.study))
    assert again == plan
    assert [job.id for job in again.finetunes] == [job.id for job in plan.finetunes]


def test_other_weights_or_another_declaration_are_another_job(
    read: Callable[..., Study], catalog: Catalog, tmp_path: Path
) -> None:
    def list_ids(line: Line) -> list[str]:
        return [job.id for job in plan_from(read([line]), catalog).finetunes]

    before = list_ids(RELATED)
    assert list_ids(RELATED) == before
    assert list_ids((TARGET, "related", 0, "one", "us-lung-mass:9;xray-breast-mass:7")) != before
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "one", moved)
    (moved / "model.safetensors").write_bytes(b"other weights")
    assert list_ids((TARGET, "related", 0, "elsewhere", SOURCES)) != before


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([(TARGET, "related", 0, "one", f"us-lung-mass:8;{TARGET}:8")], "target absent"),
        ([RELATED, (TARGET, "unrelated", 0, "two", "ct-brain-side:15")], "equal budgets"),
        ([RELATED, (TARGET, "unrelated", 0, "two", "us-lung-mass:16")], "unrelated shares nothing"),
        ([RELATED, (TARGET, "related", 0, "two", SOURCES)], "two checkpoints have the seed 0"),
        ([RELATED, (TARGET, "related", 1, "two", OTHER)], "differ in what they were trained on"),
        ([UNRELATED], "lists no checkpoint of the arm related"),
    ],
)
def test_what_a_table_declares_is_proved(
    read: Callable[..., Study], catalog: Catalog, lines: list[Line], told: str
) -> None:
    study = read(lines)
    with pytest.raises(UserError) as raised:
        plan_from(study, catalog)
    assert told in str(raised.value), str(raised.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ((TARGET, "related", 0, "three", SOURCES), "line 2: path 'three' is no folder"),
        ((TARGET, "related", 0, ".", SOURCES), "holds no model*.safetensors"),
        ((TARGET, "blind", 0, "one", SOURCES), "the arm blind asks the main model"),
        ((TARGET, "relatd", 0, "one", SOURCES), "relatd"),
        ((TARGET, "related", -1, "one", SOURCES), "seed"),
        ((TARGET, "related", 0, "one", "us-lung-mss:8"), "Did you mean 'us-lung-mass'"),
        ((TARGET, "related", 0, "one", "us-lung-mass:0"), "0 samples of 'us-lung-mass'"),
        ((TARGET, "related", 0, "one", "us-lung-mass:999999"), "999999 samples of 'us-lung-mass', which has"),
        ((TARGET, "related", 0, "one", "us-lung-mass"), "neither SUBSET:COUNT;SUBSET:COUNT nor a file"),
    ],
)
def test_a_wrong_line_is_named_with_its_fault(read: Callable[..., Study], line: Line, told: str) -> None:
    with pytest.raises(UserError) as raised:
        read([line])
    assert told in str(raised.value)
    assert "table.csv, line 2" in str(raised.value)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_samples_by_their_ids_are_counted_and_test_samples_refused(
    read: Callable[..., Study], catalog: Catalog, tmp_path: Path, suffix: str
) -> None:
    source = open_source(describe(catalog), None)
    listed = [("us-lung-mass", part.id) for part in source.read_samples("us-lung-mass", Split.TRAIN)[:5]]
    tested = source.read_samples("us-lung-mass", Split.TEST)[0].id
    file, line = tmp_path / f"seen.{suffix}", (TARGET, "related", 0, "one", f"seen.{suffix}")

    def write(samples: Sequence[tuple[str, str]]) -> None:
        if suffix == "csv":
            file.write_text("\n".join(["subset,sample", *map(",".join, samples)]))
        else:
            file.write_text("\n".join(json.dumps({"subset": name, "id": sample}) for name, sample in samples))

    write([*listed, *listed])  # two epochs
    design: Any = read([line]).design
    assert [(part.subset, part.count) for part in design.rows[0].checkpoint.parts] == [("us-lung-mass", 5)]
    for sample, told in ((tested, "it is a test sample"), ("nobody", "the catalogue has no such sample")):
        write([*listed, ("us-lung-mass", sample)])
        with pytest.raises(UserError, match=told):
            read([line])


def test_a_mixture_that_was_exported_is_named_behind_its_file(
    read: Callable[..., Study], catalog: Catalog, tmp_path: Path
) -> None:
    source = open_source(describe(catalog), None)
    names = [part.id for part in source.read_samples("us-lung-mass", Split.TRAIN)[:6]]
    rows = [
        {"mixture": "one", "subset": "us-lung-mass", "samples": names[:4]},
        {"mixture": "two", "subset": "us-lung-mass", "samples": names},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "mixtures.parquet")
    design: Any = read([(TARGET, "related", 0, "one", "mixtures.parquet#two")]).design
    assert [(part.subset, part.count) for part in design.rows[0].checkpoint.parts] == [("us-lung-mass", 6)]
    for told in ("mixtures.parquet", "mixtures.parquet#three"):
        with pytest.raises(UserError, match=r"name one of its mixtures, as in mixtures\.parquet#one"):
            read([(TARGET, "related", 0, "one", told)])


def test_yaml_json_and_other_delimiters_say_the_same(read: Callable[..., Study]) -> None:
    told = {
        "target": TARGET,
        "arm": "related",
        "adapter": "one",
        "trained_on": {"us-lung-mass": 8, "xray-breast-mass": 8},
    }
    rows = [
        read([RELATED]).design,
        read(json.dumps([told]), name="table.json").design,
        read(f"- {json.dumps(told)}", name="table.yaml").design,
        read(f"{HEAD}\n".replace(",", "\t") + "\t".join(map(str, RELATED)), name="table.tsv").design,
    ]
    assert len({design.rows for design in rows}) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        (HEAD, "table.csv", "lists no checkpoint"),
        ("{a: 1}", "table.yaml", "is no list of checkpoints"),
        ("[", "table.json", "can't be read"),
        ("target,arm\nct,related", "table.csv", "trained_on: missing"),
    ],
)
def test_a_file_that_is_no_table_is_told(read: Callable[..., Study], text: str, name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(text, name=name)


def test_weights_are_named_by_what_they_are(tmp_path: Path, read: Callable[..., Study]) -> None:
    shutil.copytree(WEIGHTS, tmp_path / "three")
    shutil.copytree(WEIGHTS, tmp_path / "four")
    designs: list[Any] = [read([(TARGET, "related", 0, name, SOURCES)]).design for name in ("three", "four")]
    hashes = {design.rows[0].checkpoint.weights.rpartition("@")[2] for design in designs}
    assert len(hashes) == 1
