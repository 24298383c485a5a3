"""How large images are read and which kernels attend: set for a model, and refused by name where that can't be."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.doctor.check_result import Status
from cg_lab.doctor.model_files import check_model_files
from cg_lab.doctor.model_in_memory import check_frame
from cg_lab.errors import UserError
from cg_lab.models.adapters import adapting
from cg_lab.models.backbone import load_backbone, load_for_images
from cg_lab.models.encoding import encode_questions
from cg_lab.models.identity import identify_backbone
from cg_lab.models.image_limits import limit_images
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.processors import load_processor
from cg_lab.models.scoring import score_options
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm, Question
from cg_lab.recipe import Lora
from cg_lab.serialize import canonical_json, omit_defaults, to_plain
from cg_lab.study import Backbone
from cg_lab.training.model_card import complete_checkpoint
from tests.models.test_contract import ask_whole_model, process_whole
from tests.models.tiny_hub_backbones import RANGE, SIZES, tell_case, write_any_backbone

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
PATH = "pretrained_model_name_or_path"
QUESTION = Question(text="What is shown?", options=("left", "right"), answer=0)


TILES = {
    "llava_onevision": [2, 2, 2, 2],
    "llava_next": [2, 2, 4, 4],
    "internvl": [2, 3, 4, 9],
    "aya_vision": [2, 3, 4, 9],
    "ovis2": [2, 3, 4, 9],
    "smolvlm": [1, 1, 4, 9],
}
"""By architecture, what at most 2, 3, 4 and 9 tiles come to; the first two have grids of two, and of two and four."""


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return write("qwen2_5_vl", tmp_path_factory.mktemp("qwen"))


def write(architecture: str, folder: Path) -> Backbone:
    folder.mkdir(exist_ok=True)
    write_any_backbone(architecture, folder)
    return Backbone(name=architecture, path=str(folder), revision="tiny", answer=AnswerForm.LETTER)


def make_job(backbone: Backbone) -> FinetuneJob:
    data = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
    mixture, recipe = Mixture(parts=(), seed=0), read_study([]).finetune
    return FinetuneJob(data=data, backbone=backbone, mixture=mixture, recipe=recipe, seed=0)


def count_patches(identity: Backbone) -> int:
    (example,) = encode_questions(load_backbone(identity), [QUESTION], [IMAGE])
    return int(example.image["image_grid_thw"].prod())


def test_an_image_takes_as_many_patches_as_its_pixels_are_bounded_to(qwen: Backbone) -> None:
    plain = count_patches(qwen)
    assert count_patches(replace(qwen, max_pixels=28 * 28)) == 4 < plain
    assert count_patches(replace(qwen, min_pixels=112 * 112, max_pixels=140 * 140)) > plain
    assert load_for_images(replace(qwen, max_pixels=28 * 28)).processor.image_processor.size["longest_edge"] == 28 * 28


@pytest.mark.parametrize("architecture", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v"])
def test_pixels_are_those_of_an_image_whatever_a_processor_counts(architecture: str, tmp_path: Path) -> None:
    """GLM-4V's counts those of two frames."""
    plain = write(architecture, tmp_path)
    for given in (RANGE, {"max_pixels": RANGE["min_pixels"], "min_pixels": 6000}):
        processor = load_for_images(replace(plain, **given)).processor.image_processor
        grid = processor([IMAGE], return_tensors="np")["image_grid_thw"][0]
        assert given["min_pixels"] <= grid[1] * grid[2] * processor.patch_size**2 <= given["max_pixels"]
    sizes = [load_for_images(one).processor.image_processor.size for one in (plain, replace(plain, min_pixels=900))]
    assert sizes[0].longest_edge == sizes[1].longest_edge
    assert sizes[1].shortest_edge == (1800 if architecture == "glm4v" else 900)


def test_a_processor_without_a_range_and_an_empty_range_are_refused(qwen: Backbone) -> None:
    tiny = Backbone(name="mine", path=str(WEIGHTS), revision="x", answer=AnswerForm.TEXT, max_pixels=100)
    with pytest.raises(UserError, match="has no range of pixels"):
        load_backbone(tiny)
    (fault,) = [check for check in check_model_files(tiny) if check.status is Status.FAULT]
    assert "has no range of pixels" in fault.found
    assert all(check.status is Status.OK for check in check_model_files(replace(qwen, max_pixels=28 * 28)))
    with pytest.raises(UserError, match=r"model.min_pixels: 999999 is more"):
        load_backbone(replace(qwen, min_pixels=999_999))


@pytest.mark.parametrize(
    ("architecture", "given", "reason"),
    [
        ("llava", 4, "cuts no image into tiles; leave it null"),
        ("pixtral", 1, "cuts no image into tiles; leave it null"),
        ("qwen2_5_vl", 4, "reads an image whole; take model.max_pixels"),
        ("glm4v", 4, "reads an image whole; take model.max_pixels"),
        ("mllama", 2, "numbers its grids of tiles as the weights were trained with.*; leave it null"),
        ("gemma3", 2, "cuts where a call asks for it, which no checkpoint can hold; take 1, or leave it null"),
        ("llava_next", 1, "1 is less than the fewest tiles that 'llava_next' cuts an image into, 2; take 2 or more"),
    ],
)
def test_tiles_that_an_architecture_can_t_have_are_refused_before_any_job_and_at_loading(
    architecture: str, given: int, reason: str, tmp_path: Path
) -> None:
    identity = replace(write(architecture, tmp_path), max_tiles=given)
    with pytest.raises(UserError, match=f"^model.max_tiles: .*{reason}"):
        load_for_images(identity)
    (fault,) = [check for check in check_model_files(identity) if check.status is Status.FAULT]
    assert re.search(reason, f"{fault.found}; {fault.way_out}")


@pytest.mark.parametrize("case", SIZES, ids=tell_case)
def test_images_prepared_in_one_size_are_not_taken_for_another(
    case: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    plain = write(case[0], tmp_path / "model")
    limited = replace(plain, **case[1])
    pool = Pool(key="k", ids=("a",), read=lambda ids: [IMAGE for _ in ids])
    first, second = (
        PreparedImages(load_for_images(identity), tmp_path / "kept", 1).see(pool, ["a"])
        for identity in (plain, limited)
    )
    assert first is not None
    assert second is not None
    assert first[0].image["pixel_values"].shape != second[0].image["pixel_values"].shape
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 2
    assert all(check.status is not Status.FAULT for check in check_model_files(limited))


@pytest.mark.parametrize(
    "architecture", ["llava_onevision", "llava_next", "internvl", "aya_vision", "ovis2", "smolvlm"]
)
def test_no_image_is_cut_into_more_tiles_than_were_asked_for(architecture: str, tmp_path: Path) -> None:
    plain = write(architecture, tmp_path)
    reached: list[int] = []
    for most in (2, 3, 4, 9):
        processor = load_for_images(replace(plain, max_tiles=most)).processor.image_processor
        pictures: list[int] = []
        for size in ((300, 300), (29, 31), (90, 30), (30, 120), (200, 70)):
            given = processor([Image.new("RGB", size)], return_tensors="np")["pixel_values"]
            pictures.append(int(np.prod(given.shape[:-3])))
        reached.append(max(1, max(pictures) - 1))  # one of several is the whole
        assert reached[-1] <= most
    assert reached == TILES[architecture]


def test_a_range_under_its_old_names_does_not_win_over_the_one_that_was_trained_with(tmp_path: Path) -> None:
    limited = replace(write("qwen2_5_vl", tmp_path / "model"), **RANGE)
    file = tmp_path / "model" / "preprocessor_config.json"
    described = json.loads(file.read_text())
    del described["size"]
    file.write_text(json.dumps({**described, "min_pixels": 3136, "max_pixels": 12_845_056}))
    complete_checkpoint(tmp_path / "trained", make_job(limited), "plan")
    size = load_processor({PATH: str(tmp_path / "trained")}).image_processor.size
    assert (size.shortest_edge, size.longest_edge) == (RANGE["min_pixels"], RANGE["max_pixels"])


@pytest.mark.parametrize("has_own_file", [True, False])
def test_tiles_are_written_wherever_a_processor_keeps_its_image_part(tmp_path: Path, *, has_own_file: bool) -> None:
    source = tmp_path / "model"
    limited = replace(write("aya_vision", source), max_tiles=5)
    if not has_own_file:
        processor = load_processor({PATH: str(source)})
        (source / "preprocessor_config.json").unlink()
        processor.save_pretrained(source)
    assert all(check.status is not Status.FAULT for check in check_model_files(limited))
    complete_checkpoint(tmp_path / "trained", make_job(limited), "plan")
    assert load_processor({PATH: str(tmp_path / "trained")}).image_processor.max_patches == 5


def test_the_cost_of_an_image_is_told_with_its_tiles(tmp_path: Path) -> None:
    """336 pixels square: 4 tiles and the whole, each one token and one call of the tower."""
    plain = write("internvl", tmp_path)
    one, four = (check_frame(replace(plain, max_tiles=most), tmp_path, QUESTION).found for most in (1, 4))
    assert "and 1 call of the vision tower" in one
    assert "takes 5 tokens" in four
    assert "and 5 calls of the vision tower" in four


@pytest.mark.parametrize("name", ["Idefics3", "SmolVLM"])
def test_tiles_of_an_odd_side_are_not_rounded_up_to_one_more_row(name: str) -> None:
    described = {"max_image_size": {"longest_edge": 35}, "size": {"longest_edge": 140}}
    asked = Backbone(name="mine", path="x", revision="x", answer=AnswerForm.TEXT, max_tiles=9)
    changed = limit_images(asked, {**described, "image_processor_type": f"{name}ImageProcessor"})
    assert changed == {"do_image_splitting": True, "size": {"longest_edge": 104}}


def test_size_and_attention_are_in_a_models_identity_only_where_they_are_set() -> None:
    settings = read_study([]).model
    plain = identify_backbone(settings)
    chosen = identify_backbone(read_study(["model.max_pixels=784", "model.max_tiles=4", "model.attention=eager"]).model)
    for name in ("min_pixels", "max_pixels", "max_tiles", "attention"):
        assert name not in canonical_json(omit_defaults(plain))
    assert to_plain(omit_defaults(chosen)) == {
        **omit_defaults(plain),
        "max_pixels": 784,
        "max_tiles": 4,
        "attention": "eager",
    }


@pytest.mark.parametrize("case", SIZES, ids=tell_case)
def test_a_checkpoint_reads_images_in_the_size_that_it_was_trained_with(
    case: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    """In transformers, without a word about it."""
    trained = load_backbone(replace(write(case[0], tmp_path / "model"), **case[1]))
    folder = tmp_path / "trained"
    trained.model.save_pretrained(folder)
    complete_checkpoint(folder, make_job(trained.identity), "plan")
    opened = replace(
        trained,
        model=AutoModelForImageTextToText.from_pretrained(folder),
        processor=load_processor({PATH: str(folder)}),
    )
    expected, found = (process_whole(one, QUESTION, IMAGE) for one in (trained, opened))
    assert all(found[key].equal(values) for key, values in expected.items())
    assert ask_whole_model(opened, QUESTION, IMAGE) == pytest.approx(ask_whole_model(trained, QUESTION, IMAGE))


@pytest.mark.parametrize("architecture", ["llava_next", "aya_vision"])
def test_adapters_open_as_their_card_says_with_the_tiles_that_they_were_trained_with(
    architecture: str, tmp_path: Path
) -> None:
    trained = load_backbone(replace(write(architecture, tmp_path / "model"), max_tiles=3))
    folder = tmp_path / "adapters"
    with adapting(trained, Lora(rank=2, alpha=2, dropout=0), "language_model_and_projector") as model:
        model.save_pretrained(folder)
    complete_checkpoint(folder, make_job(trained.identity), "plan")
    opened: dict[str, Any] = {"FOLDER": str(folder)}
    exec((folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0], opened)
    model, processor = opened["model"].base_model.model, opened["processor"]
    found = ask_whole_model(replace(trained, model=model, processor=processor), QUESTION, IMAGE)
    assert found == pytest.approx(ask_whole_model(trained, QUESTION, IMAGE))


def test_eager_attention_scores_as_transformers_own_choice(qwen: Backbone) -> None:
    rows = []
    for one in (qwen, replace(qwen, attention="eager")):
        loaded = load_backbone(one)
        assert loaded.model.config._attn_implementation == (one.attention or "sdpa")
        ((row,),) = score_options(loaded, [(encode_questions(loaded, [QUESTION], [IMAGE])[0],)], 1)
        rows.append(row)
    assert rows[0] == pytest.approx(rows[1], abs=1e-5)


def test_flash_attention_without_its_package_or_for_images_that_see_ahead_is_refused_before_any_job(
    qwen: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cg_lab.models.attention.find_spec", lambda _: None)
    flash = replace(qwen, attention="flash_attention_2")
    with pytest.raises(UserError, match="pip install flash-attn"):
        load_backbone(flash)
    (fault,) = [check for check in check_model_files(flash) if check.status is Status.FAULT]
    assert (fault.name, fault.way_out[:22]) == ("attention", "pip install flash-attn")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "paligemma"}))
    faults = [check for check in check_model_files(replace(flash, path=str(tmp_path))) if check.name == "attention"]
    assert "no mask" in faults[0].found
    with pytest.raises(UserError, match="no mask for images of paligemma"):
        load_backbone(replace(flash, path=str(tmp_path)))
