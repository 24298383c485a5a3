"""effects.csv and summary.csv: every number in them comes out of predictions.parquet and docs/statistics.md again."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from cg_lab.analysis.summary import Summary
from cg_lab.planning.plan import Cell, SeedDeviation
from cg_lab.questions import AnyQuestion, Question
from cg_lab.reporting.read import read_scores
from cg_lab.reporting.registered_family import judge_study
from cg_lab.reporting.tables import list_effects, list_summaries, write_csv
from cg_lab.results import Layout, write_plan
from tests.reporting.answering import Row, choose, plan_study, write_answers
from tests.reporting.effect_rows import Values, recompute_effects
from tests.reporting.formulas import Floats
from tests.reporting.study_files import REFERENCES, Key, Study, open_study
from tests.reporting.summary_rows import (
    Bootstrap,
    draw_over_seeds,
    list_groups,
    recompute_over_seeds,
    recompute_pooled,
    recompute_slopes,
)

RESAMPLES = 500
TARGETS = ("ct-brain-mass", "us-breast-mass", "mri-kidney-bleed", "xray-breast-level")
SHARES = {
    "zero_shot": 0.35, "unrelated": 0.4, "related": 0.62, "alone": 0.5, "mismatched": 0.45, "without": 0.45,
    "ceiling": 0.95, "shuffled": 0.4, "blind": 0.38, "sources": 0.85, "all_data": 0.6, "composed": 0.58,
    "composed_alone": 0.55, "composed_unrelated": 0.41,
}  # fmt: skip
"""Of questions that an arm answers right."""
SHIFTS = {
    ("ct-brain-mass", "related"): 0.33, ("us-breast-mass", "related"): 0.28, ("us-breast-mass", "alone"): 0.36,
    ("xray-breast-level", "related"): -0.4, ("xray-breast-level", "zero_shot"): 0.2,
    ("xray-breast-level", "unrelated"): 0.2, ("mri-kidney-bleed", "related"): 0.06,
}  # fmt: skip
STUDIES = {
    "patients": ("seeds=[0,1,2,3,4]", "arm_seeds={unrelated: 3, mismatched: 2, ceiling: 1}", "data.test_per_subset=60"),
    "disrupted": (
        "design=disrupt",
        "seeds=[0,1,2]",
        "arm_seeds={unrelated: 3}",
        "data.test_per_subset=40",
        "rule.family=false_discovery_rate",
    ),
    "looked": ("looks=[3,5]", "data.test_per_subset=40", "design.prefer=hash"),
    "single": ("seeds=[0]", "data.test_per_subset=40"),
    "merged": (
        "finetune=lora",
        "seeds=[0,1,2]",
        "arms=[zero_shot,unrelated,related,alone,composed,composed_alone,composed_unrelated]",
        "data.test_per_subset=40",
    ),
    "distant": ("design=distance", "seeds=[0,1,2]", "data.test_per_subset=40"),
}
TEXT = {
    "study", "setting", "design", "contrast", "target", "modality", "area", "task", "direction", "level", "curve",
    "facts", "related", "unrelated", "fully_covered", "arm", "variant", "subset", "verdict_reason", "missing_reasons",
}  # fmt: skip
"""What is asked, copied from the plan, and reasons in words: no numbers that come from answers."""
NOT_RECOMPUTED = {"exploratory": "hangs on registered.json, not on answers"}
Table = dict[tuple[Any, ...], Mapping[str, str]]
ASKED = {"disrupted": TARGETS[:3], "merged": TARGETS[:2], "looked": TARGETS[:2], "single": TARGETS[:1]}


def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
    """Be right as often as the arm is on this target, a seed more or less; hard questions are hard for all."""
    assert isinstance(question, Question)
    target, seed = cell.contrast.split("/")[0], f"{cell.subset} {cell.arm} {cell.variant} {cell.seed}"
    luck = random.Random(seed).gauss(0, 0.06) if cell.seed is not None else 0.0
    hard = random.Random(f"{cell.subset} {number}").gauss(0, 0.15)
    share = SHARES[cell.arm] + SHIFTS.get((target, str(cell.arm)), 0) + luck + hard
    is_wrong = random.Random(f"{seed} {number}").random() > share
    return choose(question, (question.answer + is_wrong) % len(question.options))


def answer_patients(cell: Cell, number: int, question: AnyQuestion) -> Row:
    """Ask three or four questions of each patient."""
    return answer(cell, number, question) | {"group": f"patient {number * 7 % 17}"}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Leave the files of all studies; one evaluation is lost, and one study knows of an earlier one's seeds."""
    layout = Layout(tmp_path_factory.mktemp("results"))
    for name, overrides in STUDIES.items():
        targets, drawn = ",".join(ASKED.get(name, TARGETS)), f"rule.resamples={RESAMPLES}"
        plan = plan_study(layout, f"study={name}", "arms=null", f"targets=[{targets}]", drawn, *overrides)
        if name == "looked":
            known = SeedDeviation(setting="", deviation=0.05, freedom=6, studies=("earlier",))
            plan = replace(plan, seed_deviations=(known,))
            write_plan(layout, plan)
        write_answers(layout, plan, answer_patients if name == "patients" else answer)
        if name == "disrupted":
            lost = next(cell for cell in plan.cells if cell.arm == "unrelated" and cell.subset == TARGETS[2])
            layout.result(lost.eval_job).unlink()
            layout.predictions(lost.eval_job).unlink()
        effects = judge_study(layout, plan, read_scores(plan, layout), None)
        write_csv(layout.study(name) / "effects.csv", list_effects(effects))
        write_csv(layout.study(name) / "summary.csv", list_summaries(effects))
    return layout


def read(layout: Layout, study: str, file: str) -> list[dict[str, str]]:
    with (layout.study(study) / f"{file}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def read_summary(layout: Layout, study: str) -> Table:
    rows = read(layout, study, "summary")
    return {(row["measure"], row["arm"], row["questions"], row["method"]): row for row in rows}


def find_numbers(cell: str) -> list[list[float]]:
    """Read `source gain [low, high] p=...` for each source."""
    told = [re.findall(r"-?\d[\d.e+-]*", part.split(" ", 1)[1]) for part in cell.split(";")]
    return [[float(number) for number in numbers] for numbers in told]


def agrees(cell: str, value: Any) -> bool:
    if value is None or value == "":
        return not cell
    if isinstance(value, str):
        return cell == value
    if isinstance(value, list):
        return np.allclose(find_numbers(cell), value, rtol=1e-5, atol=2e-6)
    return bool(cell) and bool(np.isclose(float(cell), value, rtol=1e-5, atol=1e-6))


@cache
def recompute(study: Study) -> dict[tuple[str, Key], Values]:
    return dict(recompute_effects(study))


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_of_effects_csv_comes_out_of_the_predictions_again(layout: Layout, name: str) -> None:
    found = recompute(open_study(layout.root, name))
    rows = {
        (row["contrast"], (row["arm"], row["variant"], row["subset"])): row for row in read(layout, name, "effects")
    }
    assert found.keys() == rows.keys()
    apart = [
        f"{key}: {column} is {cell!r}, recomputed {found[key].get(column)}"
        for key, row in rows.items()
        for column, cell in row.items()
        if column not in TEXT | NOT_RECOMPUTED.keys() and "_bootstrap_" not in column
        and not agrees(cell, found[key].get(column))
    ]  # fmt: skip
    assert apart == []


def test_no_column_of_effects_csv_is_without_a_number_that_was_recomputed(layout: Layout) -> None:
    columns = set(read(layout, "patients", "effects")[0])
    filled = {
        column
        for name in STUDIES
        for _, row in recompute(open_study(layout.root, name)).items()
        for column, value in row.items()
        if value not in (None, "")
    }
    drawn = {f"gain_over_{arm}_bootstrap_{end}" for arm in REFERENCES for end in ("low", "high")}
    assert columns - filled - drawn == TEXT | NOT_RECOMPUTED.keys()


def test_the_studies_have_every_word(layout: Layout) -> None:
    words = {row["verdict"] for name in STUDIES for row in read(layout, name, "effects")}
    assert words == {"", "composes", "transfers", "no evidence", "harms", "cannot say"}


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_of_summary_csv_comes_out_of_the_predictions_again(layout: Layout, name: str) -> None:
    study = open_study(layout.root, name)
    rows = read_summary(layout, name)
    found = dict(recompute_pooled(study)) | dict(recompute_slopes(study))
    found |= {key: {"num_questions": count, "value": value} for key, value, count in recompute_over_seeds(study)}
    apart = [
        f"{key}: {column} is {rows[key][column]!r}, recomputed {value}"
        for key, row in found.items()
        for column, value in row.items()
        if not agrees(rows[key][column], value)
    ]
    assert apart == []
    assert {key[3] for key in rows.keys() - found.keys()} == {"two-level bootstrap"}


def test_the_studies_have_every_measure_and_method_of_summary_csv(layout: Layout) -> None:
    rows = [key for name in STUDIES for key in read_summary(layout, name)]
    assert {key[0] for key in rows} == {"gain", "loss_without", "slope", "iqm", "probability_of_improvement"}
    methods = set(get_args(get_type_hints(Summary)["method"]))
    assert {key[3] for key in rows} == methods


def is_quantile(end: str, draws_D: Floats, share: float) -> bool:
    """Whether as many draws lie below as should, but for the error of both bootstraps."""
    error = np.sqrt(share * (1 - share) * (1 / RESAMPLES + 1 / len(draws_D)))
    below, up_to = ((draws_D < float(end) + shift).mean() for shift in (-1e-6, 1e-6))
    return bool(below - 4.5 * error <= share <= up_to + 4.5 * error)


def find_apart(row: Mapping[str, str], name: str, draws_D: Floats) -> list[str]:
    ends = {f"{name}_low": 0.025, f"{name}_high": 0.975}
    return [f"{end} = {row[end]}" for end, share in ends.items() if not is_quantile(row[end], draws_D, share)]


@pytest.mark.parametrize("name", STUDIES)
def test_bootstrap_intervals_are_those_of_another_bootstrap_within_its_error(layout: Layout, name: str) -> None:
    study, bootstrap = open_study(layout.root, name), Bootstrap(generator=np.random.default_rng(1))
    questions = study.measure()
    drawn = {part.contrast["id"]: bootstrap.draw(part) for part in questions}
    apart: list[str] = []
    for part in questions:
        draws, related = drawn[part.contrast["id"]], part.key("related")
        (row,) = (r for r in read(layout, name, "effects") if r["contrast"] == part.contrast["id"] and r["verdict"])
        for arm in REFERENCES:
            if part.has(arm):
                apart += find_apart(row, f"gain_over_{arm}_bootstrap", draws[related] - draws[part.key(arm)])
    for (measure, arm, group, method), row in read_summary(layout, name).items():
        if method == "two-level bootstrap":
            key = (arm.removeprefix("over "), "") if measure == "gain" else ("without", arm)
            own = [part for part in list_groups(study, questions)[group] if (*key, part.target) in part.answers]
            gains = [(drawn[p.contrast["id"]], p.key("related"), (*key, p.target)) for p in own]
            gains_CD = np.array([draws[related] - draws[other] for draws, related, other in gains])
            apart += find_apart(row, "value", (bootstrap.count(len(own)).T * gains_CD).mean(axis=0))
    assert apart == []


@pytest.mark.parametrize("name", STUDIES)
def test_intervals_over_drawn_seeds_are_those_of_another_bootstrap_within_its_error(layout: Layout, name: str) -> None:
    study, bootstrap = open_study(layout.root, name), Bootstrap(generator=np.random.default_rng(2))
    rows = read_summary(layout, name)
    apart: list[str] = []
    for key, draws_D in draw_over_seeds(study, bootstrap):
        apart += [f"{key}: {said}" for said in find_apart(rows[key], "value", draws_D)]
    assert apart == []
