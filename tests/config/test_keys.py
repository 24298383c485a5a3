"""What settings there are can be typed: every field of a study stands in conf/, by its own name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from cg_lab.config import Request, compose
from cg_lab.config.folder import list_choices
from cg_lab.endpoint_settings import EndpointSettings
from cg_lab.recipe import Recipe
from cg_lab.study import EvaluationSettings, LocalSettings, ModelSettings, Rule, SlurmSettings, Study

FOUND = {"Recipe": {"files"}, "Rule": {"looks"}}
"""What is found or set elsewhere, and never typed there."""
PARTS = (
    ("", (), Study), ("finetune", (), Recipe), ("evaluation", (), EvaluationSettings), ("rule", (), Rule),
    ("model", (), ModelSettings), ("model", ("model=endpoint", "model.url=u", "model.served=s"), EndpointSettings),
    ("cluster", (), LocalSettings), ("cluster", ("cluster=slurm",), SlurmSettings),
)  # fmt: skip


def read_keys(part: str, *overrides: str) -> set[str]:
    (composed,) = compose(Request(overrides=overrides))
    plain = composed.plain
    return set(plain[part] if part else plain)


@pytest.mark.parametrize(("part", "overrides", "kind"), PARTS)
def test_every_setting_has_its_key(part: str, overrides: tuple[str, ...], kind: type) -> None:
    names = {field.name for field in fields(kind)}
    assert names - FOUND.get(kind.__name__, set()) <= read_keys(part, *overrides)


@pytest.mark.parametrize("recipe", list_choices()["recipe"])
def test_every_recipe_has_every_key(recipe: str) -> None:
    assert {field.name for field in fields(Recipe)} - FOUND["Recipe"] <= read_keys("finetune", f"recipe={recipe}")


@pytest.mark.parametrize("model", sorted({*list_choices()["model"]} - {"endpoint"}))
def test_every_model_has_every_key(model: str) -> None:
    names = {field.name for field in fields(ModelSettings)}
    further = {"hub": ("model.name=n", "model.path=p"), "elsewhere": ("model.name=n",)}.get(model, ())
    assert names <= read_keys("model", f"model={model}", *further)
