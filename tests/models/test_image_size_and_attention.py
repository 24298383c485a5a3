"""How large images are read and which kernels attend: set for a model, and refused by name where that can't be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.doctor.check_result import Status
from cg_lab.doctor.model_files import check_model_files
from cg_lab.errors import UserError
from cg_lab.models.backbone import load_backbone, load_for_images
from cg_lab.models.encoding import encode_questions
from cg_lab.models.identity import identify_backbone
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.processors import load_processor
from cg_lab.models.scoring import score_options
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm, Question
from cg_lab.serialize import canonical_json, omit_defaults, to_plain
from cg_lab.study import Backbone
from cg_lab.training.model_card import complete_checkpoint
from tests.models.tiny_backbones import write_backbone

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
QUESTION = Question(text="What is shown?", options=("left", "right"), answer=0)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("qwen")
    write_backbone("qwen2_5_vl", folder)
    return Backbone(name="qwen2_5_vl", path=str(folder), revision="tiny", answer=AnswerForm.LETTER)


def count_patches(identity: Backbone) -> int:
    (example,) = encode_questions(load_backbone(identity), [QUESTION], [IMAGE])
    return int(example.image["image_grid_thw"].prod())


def test_an_image_takes_as_many_patches_as_its_pixels_are_bounded_to(qwen: Backbone) -> None:
    plain = count_patches(qwen)
    assert count_patches(replace(qwen, max_pixels=28 * 28)) == 4 < plain
    assert count_patches(replace(qwen, min_pixels=112 * 112, max_pixels=140 * 140)) > plain
    assert load_for_images(replace(qwen, max_pixels=28 * 28)).processor.image_processor.size["longest_edge"] == 28 * 28


def test_a_processor_without_a_range_and_an_empty_range_are_refused(qwen: Backbone) -> None:
    tiny = Backbone(name="mine", path=str(WEIGHTS), revision="x", answer=AnswerForm.TEXT, max_pixels=100)
    with pytest.raises(UserError, match="has no range of pixels"):
        load_backbone(tiny)
    (fault,) = [check for check in check_model_files(tiny) if check.status is Status.FAULT]
    assert "has no range of pixels" in fault.found
    assert all(check.status is Status.OK for check in check_model_files(replace(qwen, max_pixels=28 * 28)))
    with pytest.raises(UserError, match=r"model.min_pixels: 999999 is more"):
        load_backbone(replace(qwen, min_pixels=999_999))


def test_images_prepared_in_one_size_are_not_taken_for_another(qwen: Backbone, tmp_path: Path) -> None:
    pool = Pool(key="k", ids=("a",), read=lambda ids: [IMAGE for _ in ids])
    patches = []
    for identity in (qwen, replace(qwen, max_pixels=28 * 28)):
        seen = PreparedImages(load_for_images(identity), tmp_path, 1).see(pool, ["a"])
        assert seen is not None
        patches.append(int(seen[0].image["image_grid_thw"].prod()))
    assert patches[1] == 4 < patches[0]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_size_and_attention_are_in_a_models_identity_only_where_they_are_set() -> None:
    settings = read_study([]).model
    plain = identify_backbone(settings)
    chosen = identify_backbone(read_study(["model.max_pixels=784", "model.attention=eager"]).model)
    for name in ("min_pixels", "max_pixels", "attention"):
        assert name not in canonical_json(omit_defaults(plain))
    assert to_plain(omit_defaults(chosen)) == {**omit_defaults(plain), "max_pixels": 784, "attention": "eager"}


def test_a_checkpoint_reads_images_in_the_size_that_it_was_trained_with(qwen: Backbone, tmp_path: Path) -> None:
    write_backbone("qwen2_5_vl", tmp_path)
    data = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
    trained = replace(qwen, max_pixels=28 * 28)
    mixture, recipe = Mixture(parts=(), seed=0), read_study([]).finetune
    job = FinetuneJob(data=data, backbone=trained, mixture=mixture, recipe=recipe, seed=0)
    complete_checkpoint(tmp_path, job, "plan")
    processor = load_processor({"pretrained_model_name_or_path": str(tmp_path)})
    assert processor.image_processor.size["longest_edge"] == 28 * 28


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
