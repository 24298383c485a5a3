"""Plans that are recorded whole, so that a change of what a study does is read in a diff.

`python -m tests.planning.recorded_plans` writes them anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from tests.planning.cases import BACKBONE, cube, with_design

FOLDER = Path(__file__).parent / "recorded"


def list_plans() -> Iterator[tuple[str, Plan]]:
    """Give each recorded plan by name, as it is made today."""
    squares = replace(with_design("two_source", combinations=1), study="squares", targets=("a-x-k",), seeds=(0, 1))
    yield "two_source_over_a_cube", build_plan([Run(name="", study=squares, catalog=cube(), backbone=BACKBONE)])

    rows = read_study(["experiment=medmat_table3", "seeds=[0]", "targets=[ct-brain-state-05,mic-cell-cancer-21]"])
    catalog = read_catalog(rows.data)
    yield "rows_of_med_mat", build_plan([Run(name="", study=rows, catalog=catalog, backbone=BACKBONE)])

    designs = ("target_curve", "few_shot", "multi_task", "disrupt", "folds")
    runs = [
        Run(
            name=f"design={name}",
            study=replace(with_design(name), study="many", targets=("a-x-k",), seeds=(0,)),
            catalog=cube(),
            backbone=BACKBONE,
        )
        for name in designs
    ]
    yield "many_designs", build_plan(runs)


if __name__ == "__main__":
    for name, plan in list_plans():
        (FOLDER / f"{name}.json").write_text(plan.text, encoding="utf-8")
