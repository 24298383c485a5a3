"""Catalogues that people write, as CSV or YAML; every line is checked, and all faults are told at once."""

from __future__ import annotations

import csv
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cg_lab.data.listed import Checker, Declarations, Line
from cg_lab.data.yaml_limits import MAX_BYTES, find_excess
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import Subset

PLAIN = ("title", "kind", "split", "labels", "num_options", "num_train", "num_test", "datasets")
TOP_KEYS = ("factors", "aliases", "parents", "tied", "subsets")
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
    subsets = Checker(declarations, faults).check(lines)
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
    if file.stat().st_size > MAX_BYTES:
        raise UserError(f"catalogue {file}: more than {MAX_BYTES} bytes; give its subsets in a CSV")
    try:
        text = file.read_text(encoding="utf-8")
        fault = find_excess(text)
        if fault is not None:
            raise UserError(f"catalogue {file}, {fault}")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"catalogue {file}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"catalogue {file}: must be a mapping with the keys {', '.join(TOP_KEYS)}")
    nodes = {str(key.value): (key, value) for key, value in root.value}
    first: dict[str, int] = {}
    for key, _ in root.value:
        if first.setdefault(str(key.value), _line(key)) != _line(key):
            faults.append(f"line {_line(key)}: key '{key.value}' is in line {first[str(key.value)]} already")
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
        nested = [key for key, value in item.value if not _is_plain(value)]
        if nested:
            faults.append(f"line {_line(nested[0])}: '{nested[0].value}' is no text and no list of texts; write it out")
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
        faults.append(f"line {_line(nodes[name][0])}: '{name}' must be {shape}, not {reprlib.repr(plain[name])}")

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


def _is_plain(node: yaml.Node) -> bool:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return all(isinstance(item, yaml.ScalarNode) for item in items)


def _to_cell(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return ";".join(str(item.value) for item in node.value)
    return "" if node.value in {None, "null", "~"} else str(node.value).strip()
