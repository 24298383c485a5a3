"""From checked configurations to what the planner needs: each catalogue is read once, each model identified once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cg_lab.catalog import Catalog
from cg_lab.cli.reading import ReadingProgress
from cg_lab.config import NamedStudy
from cg_lab.config.shorthands import FIXED_BY_TABLE
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run
from cg_lab.planning.designs.checkpoints import Settings
from cg_lab.results import Layout
from cg_lab.serialize import canonical_json
from cg_lab.study import AnyBackbone, Study
from cg_lab.training.checkpoint_table import read_checkpoints
from cg_lab.training.trainer_identity import identify_trainer

SHARED = ("results_dir", "cluster", "tracking", "rule", "looks", "budget", "report_images")
"""Settings of a study as a whole, which the runs of a multirun can't vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One configuration with its catalogue and model."""

    name: str
    study: Study
    catalog: Catalog | None
    """None where only the study's name and folders were asked for."""
    backbone: AnyBackbone | None

    def to_run(self) -> Run:
        """Give what the planner takes."""
        assert self.catalog is not None
        assert self.backbone is not None
        return Run(name=self.name, study=self.study, catalog=self.catalog, backbone=self.backbone)


def open_runs(
    studies: Sequence[NamedStudy], overrides: Sequence[str] = (), *, with_catalog: bool = True
) -> list[PlannedRun]:
    """Read the catalogues of some configurations and identify their models.

    Parameters
    ----------
    studies
        The runs of a multirun, or the only one.
    overrides
        As they were given; a multirun over one of them is a study of its own, unless they name it.
    with_catalog
        False where only the study's name and folders are needed.

    Raises
    ------
    UserError
        If the runs differ in what belongs to the study as a whole.

    """
    first = studies[0].study
    for name in SHARED:
        other = next((part for part in studies if getattr(part.study, name) != getattr(first, name)), None)
        if other is not None:
            raise UserError(
                f"{name}: can't differ within a multirun ({other.name}); give the runs studies of their own"
            )
    title = _name_study([part.study.study for part in studies])
    if _is_varied(studies, overrides) and title == first.study:
        title = f"{title}_multirun"
    catalogs: dict[str, Catalog] = {}
    backbones: dict[str, AnyBackbone] = {}
    runs: list[PlannedRun] = []
    for part in studies:
        data, model = canonical_json(part.study.data), canonical_json(part.study.model)
        study, folder = replace(part.study, study=title), Layout(Path(part.study.results_dir)).data
        if with_catalog and data not in catalogs:
            catalogs[data] = read_catalog(part.study.data, folder, ReadingProgress())
        if with_catalog and model not in backbones:
            backbones[model] = identify_model(part.study.model)
        if with_catalog:
            _refuse_beside_table(study, overrides)
            study = replace(study, finetune=identify_trainer(study.finetune))
            named = any(override.lstrip("+").startswith("targets=") for override in overrides)
            study = read_checkpoints(study, catalogs[data], folder, keeps_targets=named)
        runs.append(PlannedRun(name=part.name, study=study, catalog=catalogs.get(data), backbone=backbones.get(model)))
    return runs


def _refuse_beside_table(study: Study, overrides: Sequence[str]) -> None:
    """Refuse settings that a table of checkpoints leaves without effect."""
    given = [override for override in overrides if re.split(r"[.=@]", override.lstrip("+"))[0] in FIXED_BY_TABLE]
    if isinstance(study.design, Settings) and given:
        raise UserError(
            f"{given[0]}: has no effect beside checkpoints=, whose table says what was trained; leave it out"
        )


def _is_varied(studies: Sequence[NamedStudy], overrides: Sequence[str]) -> bool:
    """Tell whether the command line varies something and names no study: then the name at hand is that of one run."""
    if len(studies) < 2 or any(override.startswith("study=") for override in overrides):
        return False
    given = {override.split("=", 1)[0] for override in overrides}
    return any(key in given for part in studies for key in re.findall(r"(?:^|,)([\w./@]+)=", part.name))


def _name_study(names: list[str]) -> str:
    """Give the runs of a multirun one name: their own if they share it, else the words that they have in common."""
    if len(set(names)) == 1:
        return names[0]
    parts = [name.split("_") for name in names]
    common = [columns[0] for columns in zip(*parts, strict=False) if len(set(columns)) == 1]
    return "_".join([*common, "multirun"])
