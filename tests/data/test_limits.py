"""The limits that the page on data states are those that the readers hold."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from cg_lab.data import archives, arrays, film_headers, json_lists, pictures, tabular, volumes, yaml_limits
from cg_lab.data.sources import list_sources, medmnist, voc, webdataset

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
LIMITS = {
    "an image": [pictures.MAX_PIXELS, pictures.MAX_BYTES],
    "a DICOM file": [film_headers.MAX_FRAMES, pictures.MAX_BYTES],
    "a NIfTI file": [volumes.MAX_VOXELS, pictures.MAX_BYTES],
    "an array of an .npz file": [
        arrays.MAX_ARRAY_BYTES, arrays.MAX_RATIO, arrays.FREE_BYTES, medmnist.MAX_LABEL_BYTES,
    ],
    "a zip or tar file": [
        archives.MAX_MEMBERS, pictures.MAX_BYTES, archives.MAX_TOTAL_BYTES, archives.MAX_RATIO, archives.FREE_BYTES,
        archives.LONGEST_NAME,
    ],
    "what a tar file says of one file": [archives.MAX_HEADER_BYTES],
    "a JSON object, a record of a list": [json_lists.MAX_OBJECT_BYTES, json_lists.LONGEST],
    "a YAML catalogue": [yaml_limits.MAX_BYTES, yaml_limits.MAX_DEPTH, yaml_limits.MAX_NODES],
    "a VOC file": [voc.MAX_BYTES],
    "a table": [tabular.MAX_COLUMNS, tabular.MAX_LINES, csv.field_size_limit(), tabular.MAX_GROUP_BYTES],
    "a `.txt`, `.cls` or `.json` of a shard": [webdataset.MAX_TEXT],
}  # fmt: skip
UNITS = {"million": 10**6, "MB": 10**6, "GB": 10**9, "": 1}


def read_table() -> dict[str, list[int]]:
    """Read what is at most so much, as numbers."""
    section = PAGE.partition("## Limits")[2].partition("## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)[1:]
    number = re.compile(r"(\ba|\d[\d,]*)(?: (million|MB|GB))?")
    return {
        name: [int(text.replace(",", "").replace("a", "1")) * UNITS[unit] for text, unit in number.findall(told)
               if text != "a" or unit]
        for name, told in rows
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_limit_is_the_one_that_is_stated(name: str) -> None:
    stated = read_table()
    assert stated.keys() == LIMITS.keys()
    assert stated[name] == pytest.approx(LIMITS[name], rel=0.08)  # 1 GB stands for 2**30


def test_every_source_has_its_section() -> None:
    sections = {heading.strip() for heading in re.findall(r"^### (.+)$", PAGE, re.MULTILINE)}
    elsewhere = {"phantom", "joined", "catalog"}  # pages of their own, and "Several sources"
    assert {*list_sources()} - elsewhere <= sections
    assert all(f"`{name}`" in PAGE or f"[`{name}`]" in PAGE for name in list_sources())
