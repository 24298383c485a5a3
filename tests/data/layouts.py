"""The real images rewritten into the layouts of other sources."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.making_films import make_film

Rows = list[dict[str, str]]
INSTRUCTION = "Answer with the option's letter from the given choices directly."


def read_rows(manifest: Path, every: int) -> Rows:
    """Read every n-th line of each label; subsets get a number at the end of their names, as those of Med-MAT have."""
    with manifest.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    numbers = {name: number for number, name in enumerate(sorted({line["subset"] for line in lines}), 1)}
    seen: dict[tuple[str, str], int] = defaultdict(int)
    kept: Rows = []
    for line in lines:
        key = (line["subset"], line["label"])
        if seen[key] % every == 0:
            name = f"{line['subset']}-{numbers[line['subset']]:02d}"
            # One image of the pack has a look-alike; without groups nothing else tells layouts apart.
            kept.append({**line, "subset": name, "source": str(manifest.parent / line["image"])})
        seen[key] += 1
    return kept


def write_manifest(rows: Rows, folder: Path) -> list[str]:
    columns = ["image", "label", "subset", "modality", "area", "task", "group"]
    folder.mkdir()
    for row in rows:
        _copy(row, folder / row["image"])
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return ["data=manifest", f"data.path={folder / 'manifest.csv'}"]


def write_catalogue(rows: Rows, path: Path) -> None:
    labels: dict[str, set[str]] = defaultdict(set)
    first: dict[str, dict[str, str]] = {}
    for row in rows:
        labels[row["subset"]].add(row["label"])
        first.setdefault(row["subset"], row)
    lines = ["name,modality,area,task,labels,num_train,num_test"]
    for name, row in first.items():
        lines.append(f"{name},{row['modality']},{row['area']},{row['task']},{';'.join(sorted(labels[name]))},1,1")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_release(rows: Rows, folder: Path) -> list[str]:
    """Write the release's JSON lists; the last image of each is named, and absent."""
    (folder / "Aggregated_Subsets").mkdir(parents=True)
    write_catalogue(rows, folder / "catalogue.csv")
    by_subset: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_subset[row["subset"]].append(row)
    for name, members in by_subset.items():
        records: list[dict[str, object]] = []
        for number, row in enumerate(members):
            path = f"{name}/{number:05d}.jpg"
            _copy(row, folder / "med-mat" / path)
            options = sorted({other["label"] for other in members})[:4]
            if row["label"] not in options:
                options[0] = row["label"]
            lines = "\n".join(f"{letter}: {option}" for letter, option in zip("ABCD", options, strict=False))
            records.append(
                {
                    "id": number, "caption": row["label"], "image": path, "Question": "What is shown?",
                    "Answer": row["label"], "Question-choice": f"What is shown?\n{lines}\n{INSTRUCTION}",
                    "Answer-choice": "ABCD"[options.index(row["label"])], "data-no": "1", "group": row["group"],
                }
            )  # fmt: skip
        records.append({**records[-1], "id": len(records), "image": f"{name}/absent.jpg"})
        number = name.rpartition("-")[2]
        (folder / "Aggregated_Subsets" / f"Subset--{number}-train.json").write_text(json.dumps(records))
    return ["data=catalog", f"data.path={folder / 'catalogue.csv'}", f"data.release={folder}"]


def write_medmnist(rows: Rows, folder: Path) -> list[str]:
    """Write arrays; images of one size are needed, gray and colour may not mix in a set."""
    folder.mkdir()
    by_subset: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_subset[row["subset"]].append(row)
    lines = ["name,modality,area,task,labels"]
    for name, members in by_subset.items():
        labels = sorted({row["label"] for row in members})
        images = [Image.open(row["source"]) for row in members]
        np.savez_compressed(
            folder / f"{name}_128.npz",
            train_images=np.stack([np.asarray(image.convert("RGB")) for image in images]),
            train_labels=np.array([[labels.index(row["label"])] for row in members], np.uint8),
            train_groups=np.array([row["group"] for row in members]),
        )
        first = members[0]
        lines.append(f"{name},{first['modality']},{first['area']},{first['task']},{';'.join(labels)}")
    (folder / "facts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["data=medmnist", f"data.path={folder}", f"data.facts={folder / 'facts.csv'}", "data.size=128",
            "data.min_per_label=1"]  # fmt: skip


def write_folders(rows: Rows, folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    write_catalogue(rows, folder.with_suffix(".csv"))
    lines = ["file_name,group"]
    for number, row in enumerate(rows):
        path = f"{row['subset']}/{row['label']}/{number}.jpg"
        _copy(row, folder / path)
        lines.append(f"{path},{row['group']}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["data=imagefolder", f"data.path={folder}", "data.levels=[subset,label]",
            f"data.subsets={folder.with_suffix('.csv')}"]  # fmt: skip


ROLES = ("subset", "modality", "area", "task", "group")


def write_dicom_table(rows: Rows, folder: Path) -> list[str]:
    """Write DICOM files in folders that say nothing, and a table that names them without ending."""
    columns = ["image_id", "dx", *ROLES]
    for number, row in enumerate(rows):
        pixels = np.asarray(Image.open(row["source"]).convert("RGB"))
        film = make_film(pixels, patient="")
        del film.PatientID, film.BodyPartExamined
        (folder / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        film.save_as(folder / f"{number % 7}/{number}.dcm", enforce_file_format=True)
    lines = [{**row, "image_id": str(number), "dx": row["label"]} for number, row in enumerate(rows)]
    _write_table(folder / "labels.csv", columns, lines)
    return ["data=dicom_table", f"data.path={folder / 'labels.csv'}", "data.columns={image: image_id, label: dx}"]


def write_one_hot(rows: Rows, folder: Path) -> list[str]:
    labels = sorted({row["label"] for row in rows})
    lines = [
        {**row, "image": f"{number}", **{label: "1.0" if label == row["label"] else "0.0" for label in labels}}
        for number, row in enumerate(rows)
    ]
    for number, row in enumerate(rows):
        _copy(row, folder / "jpg" / f"{number}.jpg")
    _write_table(folder / "truth.csv", ["image", *labels, *ROLES], lines)
    return ["data=findings", f"data.path={folder / 'truth.csv'}", f"data.root={folder / 'jpg'}"]


def write_conversations(rows: Rows, folder: Path) -> list[str]:
    for number, row in enumerate(rows):
        _copy(row, folder / f"{number}.jpg")
    records = [
        {
            "id": number, "image": f"{number}.jpg", **{role: row[role] for role in ROLES},
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": row["label"]},
            ],
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip
    (folder / "llava.json").write_text(json.dumps(records), encoding="utf-8")
    return ["data=conversations", f"data.path={folder / 'llava.json'}"]


def write_coco(rows: Rows, folder: Path) -> list[str]:
    labels = sorted({row["label"] for row in rows})
    for number, row in enumerate(rows):
        _copy(row, folder / "images" / f"{number}.jpg")
    whole = {
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
        "images": [
            {"id": number, "file_name": f"{number}.jpg", **{role: row[role] for role in ROLES}}
            for number, row in enumerate(rows)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": labels.index(row["label"])}
            for number, row in enumerate(rows)
        ],
    }
    (folder / "coco.json").write_text(json.dumps(whole), encoding="utf-8")
    return ["data=coco", f"data.path={folder / 'coco.json'}", "data.ask=labels"]


def write_webdataset(rows: Rows, folder: Path) -> list[str]:
    folder.mkdir()
    for start in range(0, len(rows), 100):
        with tarfile.open(folder / f"shard-{start:06d}.tar", "w") as file:
            for number, row in enumerate(rows[start : start + 100], start):
                _add(file, f"{number:06d}.jpg", Path(row["source"]).read_bytes())
                _add(file, f"{number:06d}.txt", row["label"].encode())
                _add(file, f"{number:06d}.json", json.dumps({role: row[role] for role in ROLES}).encode())
    return ["data=webdataset", f"data.path={folder}"]


def write_archive(rows: Rows, folder: Path) -> list[str]:
    overrides = write_folders(rows, folder / "set")
    shutil.make_archive(str(folder / "set"), "zip", folder / "set")
    shutil.rmtree(folder / "set")
    return ["data=archive", f"data.path={folder / 'set.zip'}", *overrides[2:]]


def _add(file: tarfile.TarFile, name: str, payload: bytes) -> None:
    told = tarfile.TarInfo(name)
    told.size = len(payload)
    file.addfile(told, io.BytesIO(payload))


def _write_table(path: Path, columns: list[str], lines: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


def _copy(row: dict[str, str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(row["source"], target)
