"""What a sweep and a report print at their end, from the file of effects."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.cli.show import MOST_ROWS, show_effects
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.reporting.tables import write_csv
from cg_lab.results import Layout


def test_of_many_questions_the_first_are_printed_and_the_others_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(["targets=null", "seeds=[0]", "arms=[zero_shot,related]", "study=many"])
    catalog = read_catalog(study.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    assert len(plan.contrasts) > MOST_ROWS
    layout = Layout(tmp_path)
    layout.study("many").mkdir(parents=True)
    shared = dict.fromkeys(("variant", "level", "direction", "verdict", "gain_over_unrelated"), "")
    rows = [
        {"contrast": contrast.id, "target": contrast.target, "related": ";".join(contrast.related), **shared, **own}
        for contrast in plan.contrasts
        for own in (
            {"arm": "zero_shot", "accuracy": "0.25"},
            {"arm": "related", "accuracy": "0.5", "verdict": "cannot say"},
        )
    ]
    write_csv(layout.study("many") / "effects.csv", rows)
    show_effects(layout, plan)
    head, *printed, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["target", "trained", "on"]
    assert [line.split()[0] for line in printed] == [contrast.target for contrast in plan.contrasts[:MOST_ROWS]]
    assert all(line.split()[-5:] == ["25%", "50%", "-", "cannot", "say"] for line in printed)
    assert last.strip() == f"... {len(plan.contrasts) - MOST_ROWS} more"
