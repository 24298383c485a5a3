"""Who belongs together: whatever tells it, nothing of it stands on both sides, and what tells nothing is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import UNGROUPED, Catalog
from cg_lab.config import read_study
from cg_lab.data.groups import join_groups, read_stem
from cg_lab.data.samples import Split
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.data.table import TableSource
from cg_lab.errors import UserError

Rows = list[dict[str, str]]


def make_rows(folder: Path, names: list[str] | None = None, count: int = 24) -> Rows:
    """Write images of noise, and the rows of a manifest."""
    rows: Rows = []
    for number, name in enumerate(names or [f"{number}.png" for number in range(count)]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
        label = ("no", "yes")[number % 2]
        rows.append({"image": name, "label": label, "modality": "CT", "area": "Lung", "task": "Mass"})
    return rows


def read(folder: Path, rows: Rows, *overrides: str, delimiter: str = ",") -> tuple[Catalog, TableSource]:
    lines = [delimiter.join(rows[0]), *(delimiter.join(row.values()) for row in rows)]
    (folder / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    catalog = read_catalog(read_study(["data=manifest", f"data.path={folder}/m.csv", *overrides]).data, folder / "kept")
    source = open_source(catalog, folder / "kept")
    assert isinstance(source, TableSource)
    return catalog, source


def list_images(source: TableSource) -> dict[str, list[str]]:
    sides = ("train", "test", "spare", "moved")
    return {side: sorted(row["origin"] for row in source.read_rows("ct-lung-mass", side)) for side in sides}


def tell(catalog: Catalog, reason: str) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(note.count, note.reason, note.examples) for note in catalog.notes if reason in note.reason]


@pytest.mark.parametrize(
    "column", ["patient_id", "Patient ID", "PatientId", "SUBJECT", "case_no", "eid", "Group", "StudyInstanceUID"]
)
def test_a_column_of_patients_keeps_each_of_them_on_one_side(column: str, tmp_path: Path) -> None:
    rows = [{**row, column: f"P{number // 4}"} for number, row in enumerate(make_rows(tmp_path))]
    catalog, source = read(tmp_path, rows)
    patient = {row["image"]: row[column] for row in rows}
    sides = list_images(source)
    assert not {patient[image] for image in sides["train"]} & {patient[image] for image in sides["test"]}
    assert catalog.subsets[0].has_groups
    ((count, reason, _),) = tell(catalog, UNGROUPED)
    assert count == 0
    assert "6 groups" in reason


def test_split_is_understood_in_any_case(tmp_path: Path) -> None:
    rows = [{**row, "SPLIT": "Testing" if number < 8 else "TRAIN"} for number, row in enumerate(make_rows(tmp_path))]
    _, source = read(tmp_path, rows)
    assert list_images(source)["test"] == sorted(f"{number}.png" for number in range(8))


def test_own_sides_that_part_a_patient_are_refused_with_the_cure(tmp_path: Path) -> None:
    rows = [
        {**row, "Group": f"P{number // 4}", "Split": "train" if number % 3 else "test"}
        for number, row in enumerate(make_rows(tmp_path))
    ]
    with pytest.raises(UserError, match="16 images share a group with a test image.*data.split=drawn"):
        read(tmp_path, rows)
    catalog, _ = read(tmp_path, rows, "data.split=drawn")
    assert catalog.subsets[0].has_groups


def test_columns_that_mean_nothing_are_named_once(tmp_path: Path) -> None:
    rows = [{**row, "age": "40", "Patient Sex": "F"} for row in make_rows(tmp_path)]
    catalog, _ = read(tmp_path, rows)
    assert tell(catalog, "column not used") == [(2, "column not used", ("age", "Patient Sex"))]
    assert tell(catalog, UNGROUPED)[0][0] == 24


def test_a_column_that_may_name_patients_is_asked_about(tmp_path: Path) -> None:
    rows = [{**row, "id": f"{number // 4}"} for number, row in enumerate(make_rows(tmp_path))]
    with pytest.raises(UserError, match="column 'id' may name patients .* say data.group=id .* or data.group=none"):
        read(tmp_path, rows)
    assert read(tmp_path, rows, "data.group=id")[0].subsets[0].has_groups
    assert not read(tmp_path, rows, "data.group=none")[0].subsets[0].has_groups


@pytest.mark.parametrize("column", ["Kennung", "Fall-Nr", "record_number", "ref"])
@pytest.mark.parametrize("pattern", ["X{:04d}", "1{:05d}", "a{:031x}", "1{:05d}.0"])
def test_a_column_whose_values_look_like_patients_is_asked_about(column: str, pattern: str, tmp_path: Path) -> None:
    rows = [{**row, column: pattern.format(number // 3)} for number, row in enumerate(make_rows(tmp_path))]
    with pytest.raises(UserError, match=rf"column '{column}' may name patients \(8 values for 24 images\)"):
        read(tmp_path, rows)
    assert read(tmp_path, rows, f"data.group={column}")[0].subsets[0].has_groups
    known = [{**row, "patient": f"P{number // 3}"} for number, row in enumerate(rows)]
    assert tell(read(tmp_path, known)[0], UNGROUPED)[0][1].endswith("(others by patient: 8 groups)")


@pytest.mark.parametrize(
    ("column", "pattern"), [("age", "{}"), ("KV", "{}.5"), ("day", "2020-01-0{}"), ("image_width", "20{:02d}")]
)
def test_measures_and_dates_are_not_asked_about(column: str, pattern: str, tmp_path: Path) -> None:
    rows = [{**row, column: pattern.format(number // 3)} for number, row in enumerate(make_rows(tmp_path))]
    assert tell(read(tmp_path, rows)[0], "column not used")[0][2] == (column,)


def test_patients_by_shape_may_lack_some_values(tmp_path: Path) -> None:
    rows = [{**row, "ref": "nan" if number < 2 else f"X{number // 2:03d}"} for number, row in
            enumerate(make_rows(tmp_path))]  # fmt: skip
    with pytest.raises(UserError, match=r"column 'ref' may name patients \(11 values for 24 images\)"):
        read(tmp_path, rows)


def test_subsets_that_are_called_as_sides_are_asked_about(tmp_path: Path) -> None:
    rows = [{**row, "subset": ("train", "Test")[number % 4 > 1]} for number, row in enumerate(make_rows(tmp_path))]
    with pytest.raises(UserError, match="subsets are called train, Test, as sides are"):
        read(tmp_path, rows)
    _, source = read(tmp_path, rows, "data.columns={split: subset}")
    assert {row["image"] for row in rows if row["subset"] == "Test"} == {*list_images(source)["test"]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["case", "control"], "says the same as the label"),
        (["A", "A", "A", "B"], "puts 18 of 24 images into one group"),
    ],
)
def test_a_column_that_can_hardly_be_of_patients_is_asked_about(
    values: list[str], message: str, tmp_path: Path
) -> None:
    rows = [{**row, "case": values[number % len(values)]} for number, row in enumerate(make_rows(tmp_path))]
    with pytest.raises(UserError, match=message):
        read(tmp_path, rows)


def test_a_patient_that_is_the_same_everywhere_makes_no_group(tmp_path: Path) -> None:
    catalog, _ = read(tmp_path, [{**row, "patient": "ANON"} for row in make_rows(tmp_path)])
    assert not catalog.subsets[0].has_groups
    assert tell(catalog, "patient is the same in all files")


def test_groups_that_are_not_there_are_told_with_what_is(tmp_path: Path) -> None:
    rows = [{**row, "age": "4"} for row in make_rows(tmp_path)]
    with pytest.raises(UserError, match=r"data.group: no column 'patient'; known: age; or none"):
        read(tmp_path, rows, "data.group=patient")


def test_patient_and_study_are_joined(tmp_path: Path) -> None:
    rows = [
        {**row, "patient_id": f"P{number // 8}" if number % 2 else "", "study_id": f"S{number // 2}"}
        for number, row in enumerate(make_rows(tmp_path))
    ]
    catalog, source = read(tmp_path, rows)
    ((count, reason, _),) = tell(catalog, UNGROUPED)
    assert (count, "3 groups" in reason) == (0, True)
    sides = list_images(source)
    assert not {int(name[:-4]) // 8 for name in sides["train"]} & {int(name[:-4]) // 8 for name in sides["test"]}


@pytest.mark.parametrize(
    "pattern", ["p{p:02d}_{f}.png", "case{p}_slice_{f:03d}.png", "patient{p:05d}/study1/view{f}.png",
                "{p:08d}_{f:03d}.png", "TCGA-A{p}-A0SK-01Z-{f}.png", "sub-{p:02d}_frame{f}.png",
                "mammo_P_{p:05d}_LEFT_{f}.png"]
)  # fmt: skip
def test_files_that_share_the_beginning_of_their_name_stay_together(pattern: str, tmp_path: Path) -> None:
    rows = make_rows(tmp_path, [pattern.format(p=number // 4, f=number % 4) for number in range(36)])
    catalog, source = read(tmp_path, rows)
    sides = list_images(source)
    stems = [{stem.key for image in sides[side] if (stem := read_stem(image))} for side in ("train", "test")]
    assert stems[0]
    assert stems[1]
    assert not stems[0] & stems[1]
    assert "9 groups" in tell(catalog, "file name")[0][1]


@pytest.mark.parametrize(
    "pattern", ["normal_{f:03d}.png", "IMG_2021_{f:04d}.png", "class1/{f}.png", "a-{l}-{f}.png", "ISIC_00{f:05d}.png"]
)
def test_names_that_say_nothing_of_patients_make_no_groups(pattern: str, tmp_path: Path) -> None:
    catalog, _ = read(tmp_path, make_rows(tmp_path, [pattern.format(f=number, l=number % 2) for number in range(24)]))
    assert not catalog.subsets[0].has_groups


def test_file_names_group_where_the_user_says_so(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, [f"x{number // 6}_{number}.png" for number in range(24)])
    assert not read(tmp_path, rows)[0].subsets[0].has_groups
    assert read(tmp_path, rows, "data.group=file_name")[0].subsets[0].has_groups


def test_what_shares_any_value_is_one_group() -> None:
    assert join_groups([["a", "", "", "b"], ["1", "1", "2", "2"]], 4) == ["a", "a", "b", "b"]
    assert join_groups([["a", "b", "a"], ["1", "1", ""]], 3) == ["a", "a", "a"]
    assert join_groups([["", ""], ["7", "8"]], 2) == ["1/7", "1/8"]
    assert join_groups([], 2) == ["", ""]


def test_a_group_that_is_not_printed_is_refused(tmp_path: Path) -> None:
    rows = [{**row, "group": f"P\x07{number // 4}"} for number, row in enumerate(make_rows(tmp_path))]
    with pytest.raises(UserError, match=r"line 2: group 'P\\x070' holds characters that are not printed"):
        read(tmp_path, rows)


def test_two_spellings_of_one_column_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "Group": "a", "group": "b"} for row in make_rows(tmp_path)]
    with pytest.raises(UserError, match="columns 'Group' and 'group' are one name in two spellings"):
        read(tmp_path, rows)


def test_columns_of_other_names_are_given_by_what_they_hold(tmp_path: Path) -> None:
    rows = [
        {"path": row["image"], "dx": row["label"], "who": f"P{number // 4}"}
        for number, row in enumerate(make_rows(tmp_path))
    ]
    catalog, source = read(
        tmp_path, rows, "data.columns={image: path, label: dx, group: who}",
        "data.elements={modality: CT, area: Lung, task: Mass}", delimiter=";",
    )  # fmt: skip
    assert catalog.subsets[0].has_groups
    assert len(source.read_samples("ct-lung-mass", Split.TRAIN)) == 16
    with pytest.raises(UserError, match="data.columns.image: no column 'file'"):
        read(tmp_path, rows, "data.columns.image=file")


@pytest.mark.parametrize("name", ["a/b", "a b", "<b>", "-x", "a;b"])
def test_names_of_subsets_obey_the_rule_of_catalogues(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="subset '.*': name"):
        read(tmp_path, [{**row, "subset": name} for row in make_rows(tmp_path)])
