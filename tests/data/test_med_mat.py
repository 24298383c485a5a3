"""The public release: its layouts, its texts, and all that may be wrong with its records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.release import read_question
from cg_lab.data.rows import RowError
from cg_lab.data.samples import DataSource, Split, ask
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.errors import UserError
from cg_lab.questions import Question

TAIL = "\nAnswer with the option's letter from the given choices directly."
TEXT = "What is it?\nA: benign\nB: malignant" + TAIL


def make_records(
    folder: Path, labels: tuple[str, ...] = ("benign", "malignant"), each: int = 12
) -> list[dict[str, object]]:
    """Write images below `med-mat/`, and give their records."""
    records: list[dict[str, object]] = []
    for number in range(each * len(labels)):
        label = labels[number % len(labels)]
        path = folder / "med-mat" / "set" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([each, number]).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        options = "\n".join(f"{letter}: {option}" for letter, option in zip("ABCD", labels, strict=False))
        records.append(
            {
                "id": number, "caption": label, "image": f"set/{number}.png", "Question": "What is it?",
                "Answer": label, "Question-choice": f"What is it?\n{options}{TAIL}",
                "Answer-choice": "ABCD"[labels.index(label)], "data-no": "5",
            }
        )  # fmt: skip
    return records


def write(folder: Path, records: object, name: str = "Aggregated_Subsets/Subset--04-train.json") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(records), encoding="utf-8")
    return folder


def read(folder: Path, *overrides: str) -> tuple[Catalog, DataSource]:
    study = read_study(["data=med_mat", f"data.release={folder}", "data.test_share=0.25", *overrides])
    catalog = read_catalog(study.data, folder / "kept")
    return catalog, open_source(catalog, folder / "kept")


def count(catalog: Catalog, reason: str) -> int:
    return sum(note.count for note in catalog.notes if reason in note.reason)


@pytest.mark.parametrize(
    "name",
    [
        "Aggregated_Subsets/Subset--04-train.json",
        "Subset-04-train.json",
        "Original_Medical_Datasets/ori--05-train.json",
        "Original_Medical_Datasets/Ori--05-train.json",
    ],
)
def test_every_layout_of_the_release_is_read(name: str, tmp_path: Path) -> None:
    catalog, source = read(write(tmp_path, make_records(tmp_path), name))
    (subset,) = catalog.subsets
    assert subset.name == "ct-lung-cancer-04"
    assert subset.labels == ("benign", "malignant")
    assert (subset.num_train, subset.num_test) == (18, 6)
    assert len(source.read_images(source.read_samples(subset.name, Split.TEST))) == 6
    assert count(catalog, "subset without images") == 52


def test_merged_subsets_come_before_original_data_sets(tmp_path: Path) -> None:
    records = make_records(tmp_path)
    write(tmp_path, records[:4], "Original_Medical_Datasets/ori--05-train.json")
    catalog, _ = read(write(tmp_path, records))
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 24


def test_a_data_set_of_no_subset_is_told(tmp_path: Path) -> None:
    write(tmp_path, make_records(tmp_path), "Original_Medical_Datasets/ori--43-train.json")
    catalog, _ = read(write(tmp_path, make_records(tmp_path), "Original_Medical_Datasets/ori--05-train.json"))
    assert count(catalog, "belongs to no subset") == 1


def test_absent_images_are_counted_and_found_once_they_are_there(tmp_path: Path) -> None:
    folder = write(tmp_path, make_records(tmp_path))
    away = {path: path.read_bytes() for path in sorted((tmp_path / "med-mat/set").iterdir())[:9]}
    for path in away:
        path.unlink()
    catalog, _ = read(folder)
    assert count(catalog, "missing") == 9
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 15
    for path, payload in away.items():
        path.write_bytes(payload)
    again, _ = read(folder)
    assert count(again, "missing") == 0
    assert again.data != catalog.data


def test_the_releases_own_texts_are_asked_as_they_are(tmp_path: Path) -> None:
    records = make_records(tmp_path)
    for record in records[:12]:
        record["Question-choice"] = f"Is this growth\nbenign?\nA. malignant\nB. benign{TAIL}"
        record["Answer-choice"] = {"benign": "B", "malignant": "A"}[str(record["caption"])]
    _, source = read(write(tmp_path, records), "data.questions=own")
    asked = [ask(source, sample) for split in Split for sample in source.read_samples("ct-lung-cancer-04", split)]
    assert sum(question.options == ("malignant", "benign") for question in asked) == 12
    assert {question.text for question in asked} == {"What is it?", "Is this growth benign?"}
    _, ours = read(write(tmp_path, records))
    assert not any(
        ask(ours, sample).text == "What is it?" for sample in ours.read_samples("ct-lung-cancer-04", Split.TEST)
    )


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        (TEXT, "C", "letter beyond the options"),
        (TEXT, "BB", "letter beyond the options"),
        (TEXT, "A", "another option than the caption"),
        (TEXT.replace("malignant", "normal"), "B", "none of the options"),
        ("What is it?" + TAIL, "B", "not lettered"),
        ("What is it?\nA: benign\nC: malignant", "B", "not lettered"),
        ("What is it?\nA: malignant\nB: Malignant", "B", "empty or there twice"),
        ("What is it?\nA:\nB: malignant", "B", "empty or there twice"),
        (None, "B", "no question"),
        (TEXT, 1, "no question"),
    ],
)
def test_a_question_that_does_not_fit_its_label_is_told_why(text: object, answer: object, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        read_question(text, answer, "malignant")


@pytest.mark.parametrize("mark", [":", ".", ")"])
def test_option_lines_are_read_in_each_of_their_forms(mark: str) -> None:
    text = f"What is it?\nA{mark} no finding\nB{mark} edema, mass"
    expected = Question(text="What is it?", options=("no finding", "mass, edema"), answer=1)
    assert read_question(text, "B.", "mass, edema") == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"caption": float("nan")}, "caption is no text"),
        ({"caption": None}, "caption is no text"),
        ({"caption": "NaN"}, "caption is no text"),
        ({"caption": {"a": 1}}, "caption is no text"),
        ({"caption": "half \ud800"}, "caption is no text"),
        ({"caption": "turned \u202e round"}, "caption is no text"),
        ({"image": "../../secret.png"}, "outside the release"),
        ({"image": "/etc/passwd"}, "outside the release"),
        ({"image": ""}, "no image named"),
        ({"image": 7}, "no image named"),
        ({"image": "set"}, "missing or not decodable"),
        ({"Answer-choice": "Z"}, "letter beyond the options, its caption is used"),
    ],
)
def test_a_bad_record_is_counted_and_the_others_are_read(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    records = make_records(tmp_path)
    records.append({**records[0], "id": 99, **change})
    catalog, _ = read(write(tmp_path, [*records, 7, None]))
    assert count(catalog, reason) == 1
    assert count(catalog, "record is no object") == 2
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 24


def test_doubles_of_all_kinds_are_counted(tmp_path: Path) -> None:
    records = make_records(tmp_path)
    twice = {**records[0], "id": 100}
    contrary = {**records[1], "id": 101, "caption": "benign", "Answer-choice": "A"}
    catalog, _ = read(write(tmp_path, [*records, twice, contrary, {**records[2]}]))
    assert count(catalog, "id is there twice, kept") == 1
    assert count(catalog, "there twice in its subset") == 2
    assert count(catalog, "several labels in its subset") == 2
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 23


def test_labels_that_differ_in_case_spaces_or_order_are_one(tmp_path: Path) -> None:
    records = make_records(tmp_path, ("edema, mass", "no finding"))
    records[0]["caption"], records[2]["caption"], records[1]["caption"] = (
        "Mass,  Edema",
        ["mass", "edema"],
        "No  finding",
    )
    catalog, _ = read(write(tmp_path, records))
    assert catalog.subsets[0].labels == ("edema, mass", "no finding")
    assert count(catalog, "taken as one") == 3


def test_a_subset_of_one_class_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, make_records(tmp_path)[::2], "Aggregated_Subsets/Subset--06-train.json")
    catalog, _ = read(write(tmp_path, make_records(tmp_path)))
    assert catalog.names == ("ct-lung-cancer-04",)
    assert count(catalog, "fewer than two labels") == 1


def test_a_release_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file of the release.*Aggregated_Subsets/Subset--01-train\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a JSON list of records is needed, it begins with ''"),
        ("{}", "a JSON list of records is needed"),
        ("[{}", "record 1 is followed by ''"),
        ('[{"id": 1} {"id": 2}]', "record 1 is followed by"),
        ('[{"id": 1}, {"id": ]', "record 2 is no JSON"),
        ("[" * 100_000, "record 1 is nested too deeply"),
        ('[{"id": ' + "9" * 5000 + "}]", "record 1 is no JSON"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_its_record(text: str, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path, [])
    (folder / "Aggregated_Subsets/Subset--04-train.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_byte_order_mark_is_passed_over_and_other_encodings_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, make_records(tmp_path))
    file = folder / "Aggregated_Subsets/Subset--04-train.json"
    plain = file.read_text()
    file.write_text(plain, encoding="utf-8-sig")
    assert read(folder)[0].subsets[0].num_test == 6
    file.write_text(plain.replace("benign", "bénin"), encoding="latin-1")
    with pytest.raises(UserError, match=r"Subset--04-train.json: not UTF-8 behind record"):
        read(folder)
