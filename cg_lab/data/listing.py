"""Catalogues that people write, as CSV or YAML; every line is checked, and all faults are told at once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cg_lab.data.spelling import Spelling, find_near_misses
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import MAX_OPTIONS, Kind, Subset, count_options

PLAIN = ("title", "kind", "split", "labels", "num_options", "num_train", "num_test", "datasets")
TOP_KEYS = ("factors", "aliases", "parents", "tied", "subsets")
SPLITS = ("in_distribution", "out_of_distribution")
FOLDER = Path(__file__).parent / "med_mat"
PACKAGED = {
    "package:med_mat": FOLDER / "subsets.csv",
    "package:extra_elements": FOLDER / "extra_elements.yaml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A catalogue file that has been read and checked."""

    factors: tuple[str, ...]
    subsets: tuple[Subset, ...]
    tied: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What a catalogue says beside its subsets."""

    factors: tuple[str, ...]
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each factor, what a spelling stands for."""
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each factor, what a value also counts as: COVID is a State."""
    tied: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One subset as it is written."""

    number: int
    cells: dict[str, str]


def read_listing(path: str, declarations: Declarations) -> Listing:
    """Read a catalogue from CSV or YAML and check it as a whole.

    A CSV has one line a subset, with the columns `name`, each factor, `num_train`, `num_test`, and `labels` (separated
    by ;) or `num_options`; it may have `<factor>_tags`, `title`, `kind`, `split`, `datasets`. A YAML file has the same
    under `subsets` (a list, or the name of a CSV beside it), and may declare `factors`, `aliases`, `parents`, `tied`.

    Parameters
    ----------
    path
        The file; `package:med_mat` is the catalogue that comes with cg_lab.
    declarations
        What the settings declare; a YAML file adds its own.

    Raises
    ------
    UserError
        Lists every fault with its line: unknown, missing and repeated columns, names used twice, spellings that
        look alike, empty elements, counts that are no numbers.

    """
    file = PACKAGED.get(path, Path(path))
    if path.startswith("package:") and path not in PACKAGED:
        raise UserError(f"data.path: no catalogue '{path}' comes with cg_lab; {suggest(path, PACKAGED)}")
    if not file.is_file():
        raise UserError(f"data.path: no file '{path}'; give a catalogue in CSV or YAML")
    faults: list[str] = []
    if file.suffix.lower() in {".yaml", ".yml"}:
        lines, declarations = _read_yaml(file, declarations, faults)
    else:
        lines = _read_csv(file, declarations.factors, faults)
    subsets = _Checker(declarations, faults).check(lines)
    if not lines and not faults:
        faults.append("it lists no subset")
    if faults:
        plural = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise list_faults(f"catalogue {path} has {plural}", faults)
    return Listing(factors=declarations.factors, subsets=tuple(subsets), tied=declarations.tied)


def _read_csv(file: Path, factors: tuple[str, ...], faults: list[str]) -> list[Line]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            _check_columns(header, factors, "line 1", faults)
            lines: list[Line] = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    faults.append(
                        f"line {reader.line_num}: {len(cells)} cells, the header has {len(header)}; "
                        "quote cells with commas"
                    )
                padded = map(str.strip, [*cells, *[""] * len(header)])
                named: dict[str, str] = {}
                for column, cell in zip(header, padded, strict=False):
                    named.setdefault(column, cell)
                lines.append(Line(number=reader.line_num, cells=named))
            return lines
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"catalogue {file}: not a CSV in UTF-8 ({error})") from None


def _check_columns(header: list[str], factors: tuple[str, ...], where: str, faults: list[str]) -> None:
    known = ["name", *factors, *(f"{factor}_tags" for factor in factors), *PLAIN]
    needed = ["name", *factors, "num_train", "num_test"]
    for column in dict.fromkeys(header):
        if header.count(column) > 1:
            faults.append(f"{where}: column '{column}' is there {header.count(column)} times")
        if column not in known:
            more = f"data.factors=[{','.join([*factors, column])}]"
            faults.append(f"{where}: unknown column '{column}'; {suggest(column, known)} To use it as a factor: {more}")
    faults += [f"{where}: no column '{column}'; {suggest(column, header)}" for column in needed if column not in header]
    if "labels" not in header and "num_options" not in header and "kind" not in header:
        faults.append(f"{where}: no column 'labels' or 'num_options'; one of them says how many options a question has")


def _read_yaml(file: Path, given: Declarations, faults: list[str]) -> tuple[list[Line], Declarations]:
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"catalogue {file}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"catalogue {file}: must be a mapping with the keys {', '.join(TOP_KEYS)}")
    nodes = {str(key.value): (key, value) for key, value in root.value}
    for name, (key, _) in nodes.items():
        if name not in TOP_KEYS:
            faults.append(f"line {_line(key)}: unknown key '{name}'; {suggest(name, TOP_KEYS)}")
    declarations = _read_declarations(nodes, given, faults)
    if "subsets" not in nodes:
        faults.append(f"line 1: no key 'subsets'; {suggest('subsets', nodes)}")
        return [], declarations
    return _read_subsets(nodes["subsets"][1], file, declarations, faults), declarations


def _read_subsets(node: yaml.Node, file: Path, declarations: Declarations, faults: list[str]) -> list[Line]:
    """Read the subsets of a YAML catalogue: a list, or the name of a CSV beside it."""
    if isinstance(node, yaml.ScalarNode):
        beside = file.parent / str(node.value)
        if beside.is_file():
            return _read_csv(beside, declarations.factors, faults)
        faults.append(f"line {_line(node)}: no file '{beside}'; 'subsets' is a list, or the name of a CSV beside")
        return []
    lines: list[Line] = []
    checked: set[tuple[str, ...]] = set()
    for item in node.value if isinstance(node, yaml.SequenceNode) else []:
        if not isinstance(item, yaml.MappingNode):
            faults.append(f"line {_line(item)}: a subset is a mapping of its columns, not {item.value!r}")
            continue
        lines.append(Line(number=_line(item), cells={str(key.value): _to_cell(value) for key, value in item.value}))
        columns = tuple(lines[-1].cells)
        if columns not in checked:
            checked.add(columns)
            _check_columns(list(columns), declarations.factors, f"line {_line(item)}", faults)
    return lines


def _read_declarations(nodes: Mapping[str, Any], given: Declarations, faults: list[str]) -> Declarations:
    """Read what a YAML catalogue declares; what is of the wrong shape is a fault."""
    plain = {name: yaml.safe_load(yaml.serialize(value)) for name, (_, value) in nodes.items() if name in TOP_KEYS[:4]}

    def tell(name: str, shape: str) -> None:
        faults.append(f"line {_line(nodes[name][0])}: '{name}' must be {shape}, not {plain[name]!r}")

    factors = given.factors
    if "factors" in plain:
        if _is_list_of_text(plain["factors"]):
            factors = tuple(plain["factors"])
        else:
            tell("factors", "a list of names")
    tied = given.tied
    if "tied" in plain:
        if isinstance(plain["tied"], list) and all(_is_list_of_text(pair) and len(pair) == 2 for pair in plain["tied"]):
            tied = tuple((pair[0], pair[1]) for pair in plain["tied"])
        else:
            tell("tied", "a list of pairs, such as [[Der, Skin]]")
    maps: dict[str, dict[str, dict[str, str]]] = {"aliases": {}, "parents": {}}
    for name, before in (("aliases", given.aliases), ("parents", given.parents)):
        maps[name] = {factor: dict(values) for factor, values in before.items()}
        raw = plain.get(name, {})
        if not isinstance(raw, dict) or not all(isinstance(values, dict) for values in raw.values()):
            tell(name, "a mapping of factors to mappings of values")
            continue
        for factor, values in raw.items():
            if factor not in factors:
                faults.append(
                    f"line {_line(nodes[name][0])}: {name} of no factor '{factor}'; {suggest(str(factor), factors)}"
                )
            maps[name].setdefault(str(factor), {}).update({str(key): str(value) for key, value in values.items()})
    return Declarations(factors=factors, tied=tied, aliases=maps["aliases"], parents=maps["parents"])


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _to_cell(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return ";".join(str(item.value) for item in node.value)
    return "" if node.value in {None, "null", "~"} else str(node.value).strip()


class _Checker:
    """Turns lines into subsets and gathers what is wrong with them."""

    def __init__(self, declarations: Declarations, faults: list[str]) -> None:
        self.declared = declarations
        self.faults = faults
        self.seen: dict[str, int] = {}
        self.spellings: list[Spelling] = []

    def check(self, lines: list[Line]) -> list[Subset]:
        """Check every line; subsets with a fault are left out."""
        subsets = [subset for line in lines if (subset := self._check_line(line)) is not None]
        self.faults += find_near_misses(self.spellings, self.declared.aliases)
        self.faults.sort(key=_by_line)
        return subsets

    def _check_line(self, line: Line) -> Subset | None:
        before = len(self.faults)
        name = line.cells.get("name", "")
        kind = self._choose(line, "kind", tuple(Kind), "classification")
        elements = self._read_elements(line, needed=kind != Kind.FILLER)
        labels = self._split(line, "labels")
        subset_name = self._check_name(line, name)
        counts = {column: self._count(line, column) for column in ("num_train", "num_test")}
        num_options = self._count_options(line, kind, labels)
        split = self._choose(line, "split", SPLITS, "")
        if len(self.faults) > before:
            return None
        return Subset(
            name=subset_name,
            elements=elements,
            labels=tuple(sorted(labels)),
            num_options=num_options,
            num_train=counts["num_train"],
            num_test=counts["num_test"],
            kind=Kind(kind),
            split=split or None,  # type: ignore[arg-type]
            title=line.cells.get("title", ""),
            datasets=self._split(line, "datasets"),
        )

    def _tell(self, line: Line, text: str) -> None:
        self.faults.append(f"line {line.number}: {text}")

    def _check_name(self, line: Line, name: str) -> str:
        if not name:
            self._tell(line, "empty name")
        elif name in self.seen:
            self._tell(line, f"subset '{name}' is listed in line {self.seen[name]} already")
        elif any(character in name for character in "/,;=[]{}\"' "):
            self._tell(
                line, f"name '{name}' has spaces or one of / , ; = [ ] {{ }} and quotes; use letters, digits, - _ ."
            )
        self.seen.setdefault(name, line.number)
        return name

    def _read_elements(self, line: Line, *, needed: bool) -> tuple[tuple[str, ...], ...]:
        elements: list[tuple[str, ...]] = []
        for factor in self.declared.factors:
            aliases, parents = (part.get(factor, {}) for part in (self.declared.aliases, self.declared.parents))
            written = [*self._split(line, factor), *self._split(line, f"{factor}_tags")]
            if not written and needed and factor in line.cells:
                self._tell(line, f"empty {factor}")
            values = [aliases.get(value, value) for value in written]
            self.spellings += [Spelling(factor=factor, value=value, line=line.number) for value in values]
            for value in values:
                if value in parents and parents[value] not in values:
                    values.append(parents[value])
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                self._tell(line, f"{factor} '{repeated[0]}' is given more than once")
            elements.append(tuple(values))
        return tuple(elements)

    def _split(self, line: Line, column: str) -> tuple[str, ...]:
        parts = [part.strip() for part in line.cells.get(column, "").split(";")]
        if any(not part for part in parts) and any(parts):
            self._tell(line, f"{column} '{line.cells[column]}' has an empty part between ;")
        return tuple(part for part in parts if part)

    def _choose(self, line: Line, column: str, known: tuple[str, ...], default: str) -> str:
        value = line.cells.get(column, "") or default
        if value and value not in known:
            self._tell(line, f"{column} '{value}'; {suggest(value, known)}")
            return default
        return value

    def _count(self, line: Line, column: str) -> int:
        text = line.cells.get(column, "")
        if text.isascii() and text.isdigit():
            return int(text)
        if column in line.cells:
            digits = "".join(character for character in text if character.isdigit())
            hint = f" such as {int(digits)}" if digits and not text.startswith("-") and "." not in text else ""
            self._tell(line, f"{column} '{text}' is no whole number{hint}; 0 or more, digits only")
        return 0

    def _count_options(self, line: Line, kind: str, labels: tuple[str, ...]) -> int:
        if kind == Kind.DETECTION:
            return 0
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            self._tell(line, f"label '{repeated[0]}' is given more than once")
        given = line.cells.get("num_options", "")
        found = self._count(line, "num_options") if given else count_options(labels)
        if given and labels and found != count_options(labels):
            self._tell(
                line, f"num_options {given} contradicts its {len(labels)} labels, which make {count_options(labels)}"
            )
        elif not 2 <= found <= MAX_OPTIONS and (given.isdigit() or not given):
            what = (
                f"num_options {given}"
                if given
                else f"{len(labels)} labels"
                if labels
                else "neither labels nor num_options"
            )
            self._tell(line, f"{what}: a question has 2 to {MAX_OPTIONS} options")
        return found


def _by_line(fault: str) -> int:
    head = fault.split(":", 1)[0].removeprefix("line ")
    return int(head) if head.isdigit() else 0
