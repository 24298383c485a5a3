"""Which weights a backbone has: a fine-tune's while that is asked, and the untouched ones before and afterwards."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cg_lab.errors import UserError
from cg_lab.models.backbone import (
    LoadedBackbone,
    UnreadableCheckpointError,
    find_hub_names,
    keep_untouched,
    load_backbone,
    load_for_images,
    restore_weights,
    select_trainable,
    using_weights,
)
from cg_lab.models.model_parts import is_trainable
from cg_lab.models.processors import load_processor, without_videos
from cg_lab.questions import AnswerForm
from cg_lab.recipe import TrainablePart
from cg_lab.study import Backbone
from tests.models.tiny_backbones import write_backbone

TINY = Backbone(name="tiny_llava", path="package:tiny_llava", revision="0" * 16, answer=AnswerForm.LETTER)
State = dict[str, torch.Tensor]


class Small(nn.Module):
    """Two layers, the second under a second name too, as heads are that are tied to embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 3, bias=False)
        self.tied = nn.Linear(2, 3, bias=False)
        self.tied.weight = self.second.weight
        self.all_tied_weights_keys = {"tied.weight": "second.weight"}


@pytest.fixture
def small() -> LoadedBackbone:
    torch.manual_seed(0)
    return LoadedBackbone(identity=TINY, model=Small(), processor=None)


def copy_state(backbone: LoadedBackbone) -> State:
    return {name: values.clone() for name, values in backbone.model.state_dict().items()}


def is_equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(values.equal(other[name]) for name, values in one.items())


def save(folder: Path, *files: State) -> Path:
    folder.mkdir()
    for number, weights in enumerate(files):
        save_file({name: values.clone() for name, values in weights.items()}, folder / f"model-{number}.safetensors")
    return folder


def shift(state: State, by: float) -> State:
    return {name: values + by for name, values in state.items()}


def test_a_fine_tunes_weights_are_there_while_it_is_asked_and_the_untouched_ones_for_the_next(
    small: LoadedBackbone, tmp_path: Path
) -> None:
    untouched = copy_state(small)
    folders = [save(tmp_path / str(by), shift(untouched, by)) for by in (1.0, 2.0)]
    for by, folder in ((1.0, folders[0]), (2.0, folders[1]), (1.0, folders[0])):
        with using_weights(small, folder):
            assert is_equal(copy_state(small), shift(untouched, by))
        with using_weights(small, None):
            assert is_equal(copy_state(small), untouched)
    with using_weights(small, folders[0]):
        pass
    with using_weights(small, folders[1]):  # from one fine-tune to the next
        pass
    restore_weights(small)
    assert is_equal(copy_state(small), untouched)


def test_weights_in_several_files_are_read_all_and_tied_ones_may_be_left_out(
    small: LoadedBackbone, tmp_path: Path
) -> None:
    wanted = shift(copy_state(small), 1.0)
    folder = save(
        tmp_path / "model", {"first.weight": wanted["first.weight"]}, {"second.weight": wanted["second.weight"]}
    )
    with using_weights(small, folder):
        assert is_equal(copy_state(small), wanted)


def test_only_weights_that_change_are_kept_once_and_on_the_host(small: LoadedBackbone) -> None:
    before = copy_state(small)
    keep_untouched(small, ["first.weight", "of.another.model"])
    assert set(small.untouched) == {"first.weight"}
    with torch.no_grad():
        small.model.first.weight.add_(1.0)
    keep_untouched(small, ["first.weight"])
    assert small.untouched["first.weight"].equal(before["first.weight"])
    assert (small.untouched["first.weight"].device.type, small.untouched["first.weight"].requires_grad) == (
        "cpu",
        False,
    )
    restore_weights(small)
    assert is_equal(copy_state(small), before)


def read_fault(backbone: LoadedBackbone, folder: Path) -> str:
    restore_weights(backbone)  # others may have left theirs in the one that all tests share
    before = copy_state(backbone)
    with pytest.raises(UnreadableCheckpointError) as caught, using_weights(backbone, folder):
        pass
    assert is_equal(copy_state(backbone), before)
    start, end = f"the weights in {folder} can't be read (", (
        "); remove that folder and give the same command again: the fine-tune is then run anew"
    )  # fmt: skip
    text = str(caught.value)
    assert text.startswith(start)
    assert text.endswith(end)
    return text.removeprefix(start).removesuffix(end)


def test_weights_that_are_not_the_models_are_refused_with_what_is_wrong(small: LoadedBackbone, tmp_path: Path) -> None:
    state = copy_state(small)
    more = save(tmp_path / "more", state | {"a": torch.ones(1), "b": torch.ones(1)})
    assert read_fault(small, more) == "2 weights do not fit the model, such as a"
    less = save(tmp_path / "less", {"first.weight": state["first.weight"]})
    assert read_fault(small, less) == "1 weights do not fit the model, such as second.weight"
    shape = save(tmp_path / "shape", state | {"first.weight": torch.ones(3, 3)})
    assert read_fault(small, shape) == "shapes differ"
    assert read_fault(small, save(tmp_path / "empty")) == "no *.safetensors in it"
    cut = save(tmp_path / "cut", state) / "model-0.safetensors"
    cut.write_bytes(cut.read_bytes()[:-8])
    fault = read_fault(small, cut.parent)
    assert "\n" not in fault
    assert fault not in {"None", "no reason given"}


def test_adapters_that_can_not_be_read_are_told_as_weights_are(backbone: LoadedBackbone, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": ["q_proj"]}')
    (folder / "adapter_model.safetensors").write_bytes(b"cut")
    assert "\n" not in read_fault(backbone, folder)
    assert not hasattr(backbone.model, "peft_config")


def test_adapters_work_while_they_are_asked_and_leave_no_trace(backbone: LoadedBackbone, tmp_path: Path) -> None:
    before = copy_state(backbone)
    adapted: Any = get_peft_model(backbone.model, LoraConfig(r=2, target_modules=["q_proj"]))
    with torch.no_grad():
        for name, values in adapted.named_parameters():
            if "lora_B" in name:
                values.fill_(0.5)
    adapted.save_pretrained(str(tmp_path / "model"))
    adapted.unload()
    with using_weights(backbone, tmp_path / "model"):
        taught = [values for name, values in backbone.model.named_parameters() if "lora_B" in name]
        assert taught
        assert all((values == 0.5).all() for values in taught)
    assert is_equal(copy_state(backbone), before)


def test_a_backbone_of_adapters_has_them_where_no_fine_tune_is_asked(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, str | None]] = []

    def fail(_: Any, path: str, *, revision: str | None) -> Any:
        found.append((path, revision))
        raise OSError("")

    monkeypatch.setattr("peft.PeftModel.from_pretrained", fail)
    folder = tmp_path / "me@home"
    folder.mkdir()
    for path in ("nobody/nothing", str(folder)):
        identity = replace(backbone.identity, adapter=f"{path}@abc")
        fault = f"^the weights in {path} can't be read \\(no reason given\\); "
        with (
            pytest.raises(UnreadableCheckpointError, match=fault),
            using_weights(replace(backbone, identity=identity), None),
        ):
            pass
    assert found == [("nobody/nothing", "abc"), (str(folder), None)]


def save_moved(backbone: LoadedBackbone, folder: Path) -> State:
    """Save a model's weights, each moved, as transformers does, and put them back."""
    restore_weights(backbone)
    keep_untouched(backbone, backbone.model.state_dict())
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter.add_(0.5)
    moved = copy_state(backbone)
    backbone.model.save_pretrained(folder)
    restore_weights(backbone)
    return moved


def test_weights_by_the_hubs_names_are_read_as_those_in_memory(backbone: LoadedBackbone, tmp_path: Path) -> None:
    fresh = replace(backbone, hub_names={}, untouched={})
    restore_weights(backbone)
    moved = save_moved(fresh, tmp_path)
    assert not set(load_file(tmp_path / "model.safetensors")) <= set(moved)
    for _ in range(2):  # the second time by names that are known
        with using_weights(fresh, tmp_path):
            assert is_equal(copy_state(fresh), moved)
        restore_weights(fresh)
    assert fresh.hub_names == find_hub_names(backbone.model)


def test_weights_of_which_the_hub_has_every_name_are_read_so(backbone: LoadedBackbone, tmp_path: Path) -> None:
    moved = save_moved(replace(backbone, untouched={}), tmp_path)
    names = find_hub_names(backbone.model)
    written = load_file(tmp_path / "model.safetensors")
    fresh = replace(backbone, hub_names={name: names[name] for name in written}, untouched={})
    with using_weights(fresh, tmp_path):
        assert is_equal(copy_state(fresh), moved)
    restore_weights(fresh)


def test_weights_that_the_hub_lays_out_otherwise_are_read_by_transformers(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the model's own format, and safetensors alone: other files may hold code."""
    restore_weights(backbone)
    turned = replace(backbone, hub_names={"": ""}, untouched={})
    moved = save_moved(turned, tmp_path)
    kind = type(backbone.model)
    load, asked = kind.from_pretrained, list[dict[str, Any]]()
    monkeypatch.setattr(kind, "from_pretrained", lambda folder, **given: asked.append(given) or load(folder, **given))
    with using_weights(turned, tmp_path):
        assert is_equal(copy_state(turned), moved)
    assert asked == [{"dtype": backbone.model.dtype, "use_safetensors": True}]
    plain = replace(turned, hub_names={"another": "lm_head.weight"})
    assert "weights do not fit the model" in read_fault(plain, tmp_path)
    (tmp_path / "config.json").unlink()
    assert "weights do not fit the model" in read_fault(turned, tmp_path)


def test_weights_by_all_names_of_memory_are_read_as_they_are_however_the_hub_lays_them_out(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(backbone.model), "from_pretrained", None)
    restore_weights(backbone)
    moved = shift(copy_state(backbone), 0.5)
    folder = save(tmp_path / "model", moved)
    (folder / "config.json").write_text("{}")
    turned = replace(backbone, hub_names={"": ""}, untouched={})
    with using_weights(turned, folder):
        assert is_equal(copy_state(turned), moved)
    restore_weights(turned)


def test_each_weight_has_one_name_on_the_hub_unless_it_is_laid_out_otherwise(
    backbone: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_hub_names(backbone.model)
    assert found["language_model.lm_head.weight"] == "lm_head.weight"
    assert sorted(found.values()) == sorted(backbone.model.state_dict())

    def revert(model: Any, state: State) -> State:
        assert model is backbone.model
        return {"head": state["lm_head.weight"], "turned": torch.ones(1)}

    monkeypatch.setattr("cg_lab.models.backbone.revert_weight_conversion", revert)
    assert find_hub_names(backbone.model) == {"head": "lm_head.weight", "": ""}


class Checking:
    """Checks the parts of a processor as transformers' do."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        return argument_name, argument


def test_a_processor_without_videos_checks_all_other_parts() -> None:
    kind = without_videos(Checking)
    assert kind.__name__ == "Checking"
    assert kind().check_argument_for_proper_class("video_processor", None) is None
    assert kind().check_argument_for_proper_class("tokenizer", 3) == ("tokenizer", 3)


def test_where_torchvision_is_absent_a_processor_has_its_parts_for_images_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_backbone("qwen2_vl", tmp_path)
    monkeypatch.setattr("transformers.utils.import_utils.is_torchvision_available", lambda: False)
    processor = load_processor({"pretrained_model_name_or_path": str(tmp_path)})
    assert type(processor).__name__ == "Qwen2VLProcessor"
    assert processor.video_processor is None
    assert "Qwen2VLImageProcessor" in type(processor.image_processor).__name__
    assert processor.tokenizer("a").input_ids
    assert processor.chat_template == (tmp_path / "chat_template.jinja").read_text(encoding="utf-8")


NAMES = {
    "model.vision_tower.layer.weight": "vision",
    "model.visual.blocks.weight": "vision",
    "model.visual.merger.weight": "projector",
    "model.multi_modal_projector.weight": "projector",
    "model.image_newline": "projector",
    "model.language_model.layers.0.weight": "language",
    "lm_head.weight": "language",
}


@pytest.mark.parametrize(
    ("part", "trained"),
    [
        ("all", {"vision", "projector", "language"}),
        ("language_model_and_projector", {"projector", "language"}),
        ("vision_and_projector", {"vision", "projector"}),
        ("projector", {"projector"}),
    ],
)
def test_a_recipe_trains_the_part_that_it_names(part: TrainablePart, trained: set[str]) -> None:
    assert {kind for name, kind in NAMES.items() if is_trainable(name, part)} == trained
    assert {kind for name, kind in NAMES.items() if not is_trainable(name, part)} == set(NAMES.values()) - trained


def test_what_is_frozen_for_one_fine_tune_is_free_for_the_next(small: LoadedBackbone) -> None:
    for part in (*get_args(TrainablePart), "all"):
        select_trainable(small, part)
        flags = {name: parameter.requires_grad for name, parameter in small.model.named_parameters()}
        assert flags == {name: is_trainable(name, part) for name in flags}


def test_a_model_loads_in_full_precision_on_a_cpu_and_its_processor_alone_for_images() -> None:
    loaded = load_backbone(TINY)
    assert loaded.identity is TINY
    assert loaded.untouched == {}
    if not torch.cuda.is_available():
        assert {values.dtype for values in loaded.model.state_dict().values()} == {torch.float32}
        assert {values.device.type for values in loaded.model.state_dict().values()} == {"cpu"}
    alone = load_for_images(TINY)
    assert (alone.identity, alone.model) == (TINY, None)
    assert type(alone.processor) is type(loaded.processor)


@pytest.mark.parametrize("path", ["/nowhere/model", "./model", "~/model", "checkpoints/of/mine", "two words"])
def test_a_path_that_is_no_folder_and_can_be_no_name_on_the_hub_is_told_with_what_would_be_right(path: str) -> None:
    missing = replace(TINY, path=path, revision="main")
    right = f"^model.path: '{re.escape(path)}' is no folder on this machine, nor a name .* organisation/model"
    with pytest.raises(UserError, match=right):
        load_backbone(missing)
    with pytest.raises(UserError, match=right):
        load_for_images(missing)


ABSENT = replace(TINY, path="nobody/nothing", revision="abc")


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_safetensors_are_loaded_in_the_devices_format_and_moved_to_it(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    moved: list[torch.device] = []
    multiplied: list[Any] = []
    model = SimpleNamespace(to=moved.append)

    def load(**given: Any) -> Any:
        asked.append(given)
        return model

    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "cuda")
    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", load)
    where = "cg_lab.models.backbone"
    monkeypatch.setattr(f"{where}.find_device", lambda _: SimpleNamespace(loaded="bfloat16"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(f"{where}.load_processor", lambda source: source)
    monkeypatch.setattr(f"{where}.prove_contract", lambda *_: None)
    monkeypatch.setattr(f"{where}.let_onednn_multiply", multiplied.append)
    loaded = load_backbone(ABSENT)
    source = {"pretrained_model_name_or_path": "nobody/nothing", "revision": "abc"}
    assert (loaded.model, loaded.processor) == (model, source)
    assert asked == [{**source, "dtype": torch.bfloat16, "use_safetensors": True}]
    assert moved == [torch.device(device)]
    assert multiplied == ([model] if device == "cpu" else [])


@pytest.mark.parametrize(("kind", "end"), [(OSError, ""), (SafetensorError, " --force-download")])
def test_a_fault_in_loading_is_told_by_its_first_line(
    kind: type[Exception], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: dict[str, str]) -> Any:
        raise kind("first\nsecond")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("cg_lab.models.backbone.load_processor", fail)
    with pytest.raises(UserError) as caught:
        load_backbone(ABSENT)
    assert str(caught.value) == (
        "model.path: can't load 'nobody/nothing' at revision abc: first. "
        f"Get it with: hf download nobody/nothing --revision abc{end}"
    )
    if kind is OSError:
        with pytest.raises(UserError, match="^model.path: can't load the processor of 'nobody/nothing': first$"):
            load_for_images(ABSENT)


def test_a_model_that_is_not_there_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        load_backbone(ABSENT)
    text = str(caught.value)
    assert text.startswith("model.path: can't load 'nobody/nothing' at revision abc: ")
    assert text.endswith(". Get it with: hf download nobody/nothing --revision abc")
    with pytest.raises(UserError, match="^model.path: can't load the processor of 'nobody/nothing': "):
        load_for_images(ABSENT)
