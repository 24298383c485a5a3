"""What every architecture has to do, also where images are read in another size and other kernels attend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone
from tests.models import test_contract as contract
from tests.models.test_contract import (
    test_an_answer_is_trained_behind_inferences_own_prompt_and_ends_where_generation_stops,
    test_letters_are_read_in_one_forward_whatever_stands_beside,
    test_prepared_images_are_what_the_processor_gives,
    test_the_loss_and_its_gradients_are_the_model_s_own,
)
from tests.models.tiny_backbones import ARCHITECTURES
from tests.models.tiny_hub_backbones import HUB_ARCHITECTURES, SIZES, tell_case, write_any_backbone

__all__ = [
    "test_an_answer_is_trained_behind_inferences_own_prompt_and_ends_where_generation_stops",
    "test_letters_are_read_in_one_forward_whatever_stands_beside",
    "test_prepared_images_are_what_the_processor_gives",
    "test_the_loss_and_its_gradients_are_the_model_s_own",
]
EAGER = {"attention": "eager"}
CASES = [
    *(pytest.param(case, id=tell_case(case)) for case in SIZES),
    *(
        pytest.param((name, EAGER), id=tell_case((name, EAGER)), marks=pytest.mark.slow)
        for name in (*ARCHITECTURES, *HUB_ARCHITECTURES)
    ),
]


@pytest.fixture(scope="module", params=CASES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedBackbone:
    name, given = request.param
    folder = tmp_path_factory.mktemp(name)
    write_any_backbone(name, folder)
    torch.set_num_threads(1)
    plain = Backbone(name=name, path=str(folder), revision="tiny", answer=AnswerForm.LETTER)
    return load_backbone(replace(plain, **given))


def test_the_kernels_that_attend_are_those_that_were_asked_for(loaded: LoadedBackbone) -> None:
    """In the vision tower too; without a word, transformers takes sdpa for every one of them."""
    config: Any = loaded.model.config
    expected = loaded.identity.attention or "sdpa"
    parts = [config, config.get_text_config(), config.vision_config]
    assert {part._attn_implementation for part in parts} == {expected}


@pytest.mark.slow
@pytest.mark.parametrize("form", list(AnswerForm))
def test_all_orders_score_as_they_do_alone(form: AnswerForm, loaded: LoadedBackbone) -> None:
    contract.test_all_orders_of_the_options_behind_one_image_score_as_they_do_alone(form, loaded)


@pytest.mark.slow
def test_boxes_are_read_back(loaded: LoadedBackbone) -> None:
    contract.test_boxes_are_trained_on_and_read_back_in_the_model_s_own_convention(loaded)


@pytest.mark.slow
def test_a_frozen_tower_trains_as_one_that_runs(
    loaded: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract.test_a_frozen_tower_played_back_trains_as_one_that_runs(loaded, tmp_path, monkeypatch)
