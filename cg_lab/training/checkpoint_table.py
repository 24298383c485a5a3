"""The table of checkpoints that were trained elsewhere: read, and held against catalogue and files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pyarrow import parquet
from pydantic import NonNegativeInt

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.data.json_lists import read_json_lines
from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.data.tabular import read_lines
from cg_lab.data.yaml_limits import find_excess
from cg_lab.data_settings import NonEmptyText
from cg_lab.endpoint_settings import EndpointSettings
from cg_lab.errors import UserError, suggest
from cg_lab.models.identity import hash_weights
from cg_lab.planning.build import describe
from cg_lab.planning.designs.checkpoints import CheckpointRow, Settings
from cg_lab.planning.work import SERVED, GivenCheckpoint, MixturePart
from cg_lab.recipe import TRAINED_ELSEWHERE
from cg_lab.serialize import parse
from cg_lab.study import Study

COUNTED = re.compile(r"\s*([^:;\s]+)\s*:\s*(\d+)\s*")
ID_COLUMNS = ("sample", "id", "sample_id")
"""What the column of samples may be called in a file that lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of the table as it is written."""

    target: NonEmptyText
    arm: Arm
    seed: NonNegativeInt = 0
    path: NonEmptyText | None = None
    """Folder of a model or of adapters, from the table's own folder on."""
    served: NonEmptyText | None = None
    """What a server calls it, as its adapters of a model."""
    trained_on: str | dict[str, NonNegativeInt]
    """Samples by subset, or a file that lists them."""
    variant: str = ""
    question: str = ""


@dataclass(slots=True)
class _Reader:
    """Reads one table."""

    path: Path
    catalog: Catalog
    source: DataSource
    is_served: bool
    _sides: dict[str, dict[str, Split]] = field(default_factory=dict[str, dict[str, Split]])
    """By subset, on which side each sample is."""

    def read(self, line: _Line, where: str) -> CheckpointRow:
        """Read one line.

        Raises
        ------
        UserError
            If its arm has no model of its own, its folder no weights, or its samples are not the catalogue's.

        """
        if line.arm.traits.model != "own":
            raise UserError(
                f"{where}: the arm {line.arm} asks the {line.arm.traits.model} model, and has no checkpoint of its own"
            )
        return CheckpointRow(
            target=line.target,
            arm=line.arm,
            variant=line.variant,
            question=line.question,
            checkpoint=GivenCheckpoint(
                seed=line.seed,
                weights=self._name_weights(line, where),
                parts=self._read_parts(line.trained_on, where),
            ),
        )

    def _name_weights(self, line: _Line, where: str) -> str:
        if self.is_served:
            if line.served is None or line.path is not None:
                raise UserError(
                    f"{where}: model=endpoint is asked at its server; give served, the name that it has there"
                )
            return f"{SERVED}{line.served}"
        if line.path is None or line.served is not None:
            raise UserError(f"{where}: give path, the folder of the weights; served is for model=endpoint")
        folder = self._find(line.path)
        if not folder.is_dir():
            raise UserError(f"{where}: path '{line.path}' is no folder ({folder})")
        try:
            return f"{folder}@{hash_weights(folder)}"
        except FileNotFoundError as error:
            raise UserError(f"{where}: {error}") from None

    def _find(self, path: str) -> Path:
        return (self.path.parent / Path(path).expanduser()).resolve()

    def _read_parts(self, told: str | Mapping[str, int], where: str) -> tuple[MixturePart, ...]:
        if isinstance(told, str):
            given = [part for part in told.split(";") if part.strip()]
            found = [COUNTED.fullmatch(part) for part in given]
            if all(found) and found:
                counts = Counter[str]()
                for match in filter(None, found):
                    counts[match[1]] += int(match[2])
            else:
                counts = self._count_samples(told, where)
        else:
            counts = Counter(told)
        sizes = {subset.name: subset.num_train for subset in self.catalog.subsets}
        for name, count in counts.items():
            if name not in sizes:
                raise UserError(f"{where}: trained_on has the subset '{name}'; {suggest(name, sizes)}")
            if not 0 < count <= sizes[name]:
                raise UserError(
                    f"{where}: trained_on has {count} samples of '{name}', which has {sizes[name]} to train on"
                )
        return tuple(MixturePart(subset=name, count=counts[name]) for name in sorted(counts))

    def _count_samples(self, told: str, where: str) -> Counter[str]:
        """Count the samples that a file lists by subset; each is one of the subset's training side."""
        name, _, mixture = told.partition("#")
        path = self._find(name)
        if not path.is_file():
            raise UserError(
                f"{where}: trained_on is '{told}', and neither SUBSET:COUNT;SUBSET:COUNT nor a file that lists samples "
                f"({path})"
            )
        counts = Counter[str]()
        seen: set[tuple[str, str]] = set()
        for subset, sample in _list_samples(path, mixture):
            side = self._find_side(subset, sample, path)
            if side is not Split.TRAIN:
                told = "it is a test sample" if side else "the catalogue has no such sample"
                raise UserError(f"{where}: {path} has sample '{sample}' of '{subset}': {told}")
            if (subset, sample) not in seen:  # several epochs may list it again
                counts[subset] += 1
            seen.add((subset, sample))
        return counts

    def _find_side(self, subset: str, sample: str, path: Path) -> Split | None:
        if subset not in self._sides:
            names = [part.name for part in self.catalog.subsets]
            if subset not in names:
                raise UserError(f"{path}: no subset '{subset}'; {suggest(subset, names)}")
            self._sides[subset] = {part.id: side for side in Split for part in self.source.read_samples(subset, side)}
        return self._sides[subset].get(sample)


def read_checkpoints(study: Study, catalog: Catalog, folder: Path | None, *, keeps_targets: bool = False) -> Study:
    """Give a study whose design's table of checkpoints is read, if it has one; any other stays as it is.

    Parameters
    ----------
    study, catalog
        The study, and the catalogue that its targets are of.
    folder
        Where tables of samples are.
    keeps_targets
        Whether only the study's own targets are asked about, and not all that the table has.

    Raises
    ------
    UserError
        With the table's file and line.

    """
    if not isinstance(study.design, Settings):
        return study
    path = Path(study.design.table).expanduser()
    reader = _Reader(
        path=path,
        catalog=catalog,
        source=open_source(describe(catalog), folder),
        is_served=isinstance(study.model, EndpointSettings),
    )
    rows = [
        reader.read(parse(_Line, raw, where=where), where)
        for number, raw in _read_lines(path)
        for where in [f"checkpoints: {path}, line {number}"]
    ]
    if not rows:
        raise UserError(f"checkpoints: {path} lists no checkpoint")
    return replace(
        study,
        targets=study.targets if keeps_targets else tuple(dict.fromkeys(row.target for row in rows)),
        design=replace(study.design, table=str(path), rows=tuple(rows)),
        seeds=tuple(sorted({row.checkpoint.seed for row in rows})),
        finetune=TRAINED_ELSEWHERE,
    )


def _read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read lines with their numbers; of YAML and JSON they are counted from 1."""
    if path.suffix.lower() in {".yaml", ".yml", ".json"}:
        return [(number, _rename(line)) for number, line in enumerate(_read_yaml(path), start=1)]
    lines = read_lines(path, setting="checkpoints", wanted=", or a list in YAML or JSON")
    return [(number, _rename({name: cell for name, cell in cells.items() if cell})) for number, cells in lines.cells]


def _read_yaml(path: Path) -> list[dict[str, Any]]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        fault = find_excess(text)
        told = None if fault else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"checkpoints: {path} can't be read ({' '.join(str(error).split())})") from None
    if fault:
        raise UserError(f"checkpoints: {path}, {fault}")
    if not isinstance(told, list) or not all(isinstance(line, dict) for line in told):
        raise UserError(f"checkpoints: {path} is no list of checkpoints, such as [{{target: NAME, arm: related, ...}}]")
    return told


def _rename(line: dict[str, Any]) -> dict[str, Any]:
    """Take `adapter` for `path`: which of the two a folder holds is seen."""
    return {"path" if name == "adapter" and "path" not in line else str(name): value for name, value in line.items()}


def _list_samples(path: Path, mixture: str) -> list[tuple[str, str]]:
    """Read subset and sample of each line of a table or of JSON lines, or those of one mixture that was exported."""
    if path.suffix.lower() == ".parquet" and {"mixture", "subset", "samples"} <= {*parquet.read_schema(path).names}:
        return _list_exported(path, mixture)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        lines = [{str(name): str(value) for name, value in cast("dict[str, Any]", line).items()}
                 for line in read_json_lines(path) if isinstance(line, dict)]  # fmt: skip
    else:
        lines = [cells for _, cells in read_lines(path, setting="checkpoints").cells]
    names = lines[0] if lines else {}
    name = next((name for name in ID_COLUMNS if name in names), None)
    if name is None or "subset" not in names:
        raise UserError(
            f"{path}: lists samples by the columns subset and sample; it has {', '.join(names) or 'no line'}"
        )
    return [(line.get("subset", ""), line.get(name, "")) for line in lines]


def _list_exported(path: Path, mixture: str) -> list[tuple[str, str]]:
    rows = parquet.read_table(path, columns=["mixture", "subset", "samples"]).to_pylist()
    found = [(row["subset"], sample) for row in rows if row["mixture"] == mixture for sample in row["samples"]]
    if not found:
        there = min((row["mixture"] for row in rows), default="ID")
        raise UserError(f"{path}: name one of its mixtures, as in {path.name}#{there}")
    return found
