"""Catalogues that people write: all faults at once, with lines and what would be right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.data.listed import Declarations
from cg_lab.data.listing import read_listing
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError

THREE = Declarations(factors=("modality", "area", "task"))
HEADER = "name,modality,area,task,task_tags,kind,split,labels,num_options,num_train,num_test"
GOOD = (
    "ct-lung,CT,Lung,covid,state,classification,in_distribution,no;yes,,100,40",
    "ct-brain,CT,Brain,cancer,state,,,a;b;c;d;e,,100,40",
    "xray-lung,X-ray,Lung,finding,,detection,,,,100,40",
)


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_a_good_catalogue_is_read(tmp_path: Path) -> None:
    listing = read_listing(write(tmp_path / "c.csv", HEADER, *GOOD), THREE)
    first, second, third = listing.subsets
    assert first.elements == (("CT",), ("Lung",), ("covid", "state"))
    assert (first.num_options, second.num_options, third.num_options) == (2, 4, 0)
    assert first.split == "in_distribution"


def test_aliases_parents_and_further_factors_are_declared_in_yaml(tmp_path: Path) -> None:
    text = """
factors: [modality, area, task, view]
aliases:
  modality: {Xray: X-ray, xray: X-ray}
parents:
  task: {covid: state, state: finding}
tied: [[Der, Skin]]
subsets:
  - {name: a, modality: Xray, area: Lung, task: covid, view: AP, labels: [no, yes], num_train: 10, num_test: 4}
  - {name: b, modality: xray, area: Lung, task: state, view: PA, num_options: 2, num_train: 10, num_test: 4}
"""
    listing = read_listing(write(tmp_path / "c.yaml", text), THREE)
    assert listing.factors == ("modality", "area", "task", "view")
    assert [subset.elements[0] for subset in listing.subsets] == [("X-ray",), ("X-ray",)]
    assert listing.subsets[0].elements[2] == ("covid", "state", "finding")
    assert listing.tied == (("Der", "Skin"),)


SEEDED = """\
name,modality,area,task,task_tags,kind,split,labels,num_options,num_train,num_test,scaner,kind
ok-1,CT,Lung,cancer,,classification,,no;yes,,100,40,,
ok-1,CT,Brain,cancer,,classification,,no;yes,,100,40,,
two words,CT,Brain,state,,classification,,no;yes,,100,40,,
,CT,Brain,level,,classification,,no;yes,,100,40,,
no-modality,,Lung,cancer,,classification,,no;yes,,100,40,,
no-area,CT,,cancer,,classification,,no;yes,,100,40,,
no-task,CT,Lung,,,classification,,no;yes,,100,40,,
xray-1,X-ray,Lung,cancer,,classification,,no;yes,,100,40,,
xray-2,X-Ray,Lung,state,,classification,,no;yes,,100,40,,
xray-3,Xray,Lung,level,,classification,,no;yes,,100,40,,
typo-area,CT,Kidny,level,,classification,,no;yes,,100,40,,
right-area,CT,Kidney,state,,classification,,no;yes,,100,40,,
typo-task,CT,Liver,canser,,classification,,no;yes,,100,40,,
lower-task,MRI,Liver,State,,classification,,no;yes,,100,40,,
kind-typo,MRI,Lung,level,,clasification,,no;yes,,100,40,,
split-typo,MRI,Brain,level,,classification,in-distribution,no;yes,,100,40,,
comma,MRI,Spine,level,,classification,,no;yes,,"3,000",40,,
words,MRI,Spine,state,,classification,,no;yes,,many,40,,
negative,MRI,Spine,cancer,,classification,,no;yes,,-5,40,,
fraction,MRI,Heart,cancer,,classification,,no;yes,,100,2.5,,
blank-count,MRI,Heart,state,,classification,,no;yes,,,40,,
one-label,MRI,Heart,level,,classification,,yes,,100,40,,
no-labels,US,Heart,level,,classification,,,,100,40,,
twice-label,US,Heart,state,,classification,,no;no;yes,,100,40,,
five-options,US,Heart,cancer,,classification,,,5,100,40,,
contradicts,US,Breast,cancer,,classification,,no;yes,4,100,40,,
empty-part,US,Breast,state,,classification,,no;;yes,,100,40,,
tag-again,US,Breast,level,level,classification,,no;yes,,100,40,,
short,US,Skin,level
slash/name,US,Skin,state,,classification,,no;yes,,100,40,,
word-options,US,Skin,cancer,,classification,,,two,100,40,,
"""
EXPECTED = (
    (1, "unknown column 'scaner'"), (1, "column 'kind' is there 2 times"), (3, "'ok-1' is listed in line 2"),
    (4, "has spaces"), (5, "empty name"), (6, "empty modality"), (7, "empty area"), (8, "empty task"),
    (10, "modality 'X-Ray' looks like 'X-ray'"), (11, "modality 'Xray' looks like"),
    (13, "'Kidney' looks like 'Kidny'"),
    (14, "task 'canser' looks like 'cancer'"), (15, "task 'State' looks like 'state'"),
    (16, "Did you mean 'classification'"), (17, "Did you mean 'in_distribution'"),
    (18, "num_train '3,000' is no whole number such as 3000"), (19, "num_train 'many'"), (20, "num_train '-5'"),
    (21, "num_test '2.5'"), (22, "num_train ''"), (23, "1 labels: a question has 2 to 4 options"),
    (24, "neither labels nor num_options"), (25, "label 'no' is given more than once"), (26, "num_options 5"),
    (27, "num_options 4 contradicts its 2 labels"), (28, "has an empty part"),
    (29, "task 'level' is given more than once"),
    (30, "4 cells, the header has 13"), (31, "'slash/name' has spaces or one of"), (32, "num_options 'two'"),
)  # fmt: skip


def test_thirty_seeded_faults_are_told_in_one_go_in_order_of_lines(tmp_path: Path) -> None:
    assert len(EXPECTED) == 30
    with pytest.raises(UserError) as caught:
        read_listing(write(tmp_path / "c.csv", SEEDED), THREE)
    text = str(caught.value)
    found = re.findall(r"- line (\d+): (.*)", text)
    for line, part in EXPECTED:
        assert any(int(number) == line and part in fault for number, fault in found), (line, part, text)
    numbers = [int(number) for number, _ in found]
    assert numbers == sorted(numbers)
    assert {line for line, _ in EXPECTED} == set(numbers), "no fault is told of a good line"


def test_a_fourth_factor_in_a_csv_is_told_how_to_use(tmp_path: Path) -> None:
    header = HEADER + ",population"
    with pytest.raises(UserError, match=re.escape("data.factors=[modality,area,task,population]")):
        read_listing(write(tmp_path / "c.csv", header, *(line + ",Adults" for line in GOOD)), THREE)
    four = Declarations(factors=(*THREE.factors, "population"))
    listing = read_listing(write(tmp_path / "d.csv", header, *(line + ",Adults" for line in GOOD)), four)
    assert listing.subsets[0].elements[3] == ("Adults",)


def test_two_things_that_look_alike_can_be_declared_so(tmp_path: Path) -> None:
    lines = [GOOD[0], "b,CT,Brain,stage,,,,a;b,,100,40"]
    path = write(tmp_path / "c.csv", HEADER, *lines)
    with pytest.raises(UserError, match="task 'stage' looks like 'state'"):
        read_listing(path, THREE)
    distinct = Declarations(factors=THREE.factors, aliases={"task": {"stage": "stage", "state": "state"}})
    assert len(read_listing(path, distinct).subsets) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subsets: [", "not valid YAML"),
        ("- a", "must be a mapping"),
        ("subset: []", "unknown key 'subset'.*Did you mean 'subsets'"),
        ("subsets: none.csv", "no file .*none.csv"),
        ("factors: modality\nsubsets: []", "'factors' must be a list of names"),
        ("tied: [Der]\nsubsets: []", "'tied' must be a list of pairs"),
        ("aliases: {colour: {a: b}}\nsubsets: []", "aliases of no factor 'colour'"),
        ("subsets: [{nam: a}]", "unknown column 'nam'.*Did you mean 'name'"),
    ],
)
def test_faults_of_a_yaml_catalogue(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        read_listing(write(tmp_path / "c.yaml", text), THREE)


def test_a_catalogue_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it lists no subset"):
        read_listing(write(tmp_path / "c.csv", HEADER), THREE)


def test_images_bring_a_catalogue_to_life(tmp_path: Path) -> None:
    """The catalogue gives elements and tags, a manifest the images; what has none is left out and told."""
    from PIL import Image

    path = write(tmp_path / "c.csv", HEADER, *GOOD, "wiki,,,,,filler,,,4,100,0")
    rows = ["image,label,subset"]
    for number in range(24):
        Image.new("L", (8, 8), number * 10).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{('no', 'yes')[number % 2]},{('ct-lung', 'ct-brain', 'wiki')[number // 8]}")
    images = write(tmp_path / "images.csv", *rows)
    study = read_study(["data=catalog", f"data.path={path}", f"data.images={images}"])
    catalog = read_catalog(study.data, tmp_path / "kept")
    assert [subset.name for subset in catalog.subsets] == ["ct-brain", "ct-lung", "wiki"]
    assert catalog.subsets[2].kind == "filler"
    assert catalog.subsets[1].elements[2] == ("covid", "state")
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 8
    assert any("xray-lung" in note.examples for note in catalog.notes)


def test_the_order_of_lines_changes_no_id(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.csv", HEADER, *lines) for name, lines in (("a", GOOD), ("b", GOOD[::-1]))]
    first, second = (read_catalog(read_study(["data=catalog", f"data.path={path}"]).data) for path in paths)
    assert first == second


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subsets:\n  - {name: {a: b}}\n", "line 2: 'name' is no text and no list of texts"),
        ("subsets:\n  - &a {name: a}\n  - {<<: *a, name: b}\n", "line 3: '<<' is no text and no list of texts"),
        ("subsets: []\nsubsets: []\n", "line 2: key 'subsets' is in line 1 already"),
    ],
)
def test_what_a_cell_of_yaml_can_not_be_is_told(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_listing(str(tmp_path / "c.yaml"), Declarations(factors=("modality", "area", "task")))
