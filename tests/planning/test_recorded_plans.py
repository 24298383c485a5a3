"""What three studies do, whole: a change shows in the diff of a file."""

from __future__ import annotations

from tests.planning.recorded_plans import FOLDER, list_plans


def test_recorded_plans_are_planned_as_they_were() -> None:
    made = {name: plan.text for name, plan in list_plans()}
    assert set(made) == {path.stem for path in FOLDER.glob("*.json")}
    for name, text in made.items():
        recorded = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert text == recorded, f"{name} changed; `python -m tests.planning.recorded_plans` records it anew"
