"""What exporters write is what trainers read: held against their documented formats, and their own readers if here."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from pyarrow import parquet

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import IGNORED
from cg_lab.models.encoding import encode_questions
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.questions import AnswerForm, Question, format_question
from cg_lab.recipe import Lora
from cg_lab.training.exporters import llama_factory, load_exporter, ms_swift, trl
from tests.training.trainer_tasks import make_recipe, make_task

LORA = Lora(rank=4, alpha=8, dropout=0.1, targets=("q_proj", "v_proj"))


def read_config(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def export(name: str, folder: Path, settings: str = "{}", **changes: Any) -> dict[str, Any]:
    of_task = {key: changes.pop(key) for key in ("parts", "num_devices", "resume_from") if key in changes}
    return read_config(load_exporter(name).export(make_task(folder, make_recipe(name, settings, **changes), **of_task)))


@pytest.mark.parametrize("name", ["trl", "llama_factory", "ms_swift"])
def test_a_recipe_is_told_in_full_and_the_users_settings_win(name: str, tmp_path: Path) -> None:
    told = export(name, tmp_path, '{"template": "mine", "logging_steps": 1}', batch_size=4, epochs=3.0)
    assert told["learning_rate"] == 1e-3
    assert told["num_train_epochs"] == 3
    assert told["warmup_steps"] == 0  # a tenth of three steps
    assert (told["weight_decay"], told["max_grad_norm"], told["lr_scheduler_type"]) == (0.01, 1, "cosine")
    assert (told["seed"], told["output_dir"], told["bf16"]) == (7, str(tmp_path / "output"), False)
    assert (told["template"], told["logging_steps"]) == ("mine", 1)


def test_the_batch_of_a_step_is_the_recipes_on_any_number_of_devices_and_after_memory_ran_out(tmp_path: Path) -> None:
    told = export("trl", tmp_path, batch_size=16, num_devices=2, parts=4, resume_from=tmp_path / "checkpoint-3")
    assert (told["per_device_train_batch_size"], told["gradient_accumulation_steps"]) == (2, 4)
    assert told["resume_from_checkpoint"].endswith("checkpoint-3")


def test_trl_reads_prompts_and_completions_with_images_by_path(tmp_path: Path) -> None:
    from datasets import Features

    told = export("trl", tmp_path)
    path = Path(told["dataset_name"]) / "train.parquet"
    assert "Image" in str(Features.from_arrow_schema(parquet.read_schema(path))["images"])
    row = parquet.read_table(path).to_pylist()[1]
    assert row["prompt"] == [{"role": "user", "content": "Which?\nA: mass\nB: cyst"}]
    assert row["completion"] == [{"role": "assistant", "content": "B"}]
    assert Image.open(row["images"][0]["path"]).getpixel((0, 0)) == (0, 0, 0)
    assert told["max_length"] is None


def test_trl_refuses_a_template_by_which_it_would_train_other_tokens(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(WEIGHTS, base)
    (base / "chat_template.jinja").write_text((WEIGHTS / "chat_template.jinja").read_text().replace("<eos>", ""))
    with pytest.raises(UserError, match="does not go on from its own prompt to an end"):
        trl.export(make_task(tmp_path, make_recipe("trl"), base=str(base)))


def test_trl_refuses_a_part_that_its_command_can_not_choose(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a script of your own"):
        export("trl", tmp_path, trainable="projector")


def test_llama_factory_finds_the_columns_that_dataset_info_names(tmp_path: Path) -> None:
    told = export("llama_factory", tmp_path, '{"template": "llava"}', trainable="language_model_and_projector")
    info = json.loads((Path(told["dataset_dir"]) / "dataset_info.json").read_text())[told["dataset"]]
    row = json.loads((Path(told["dataset_dir"]) / info["file_name"]).read_text())[1]
    tags = info["tags"]
    turns = [(turn[tags["role_tag"]], turn[tags["content_tag"]]) for turn in row[info["columns"]["messages"]]]
    assert turns == [(tags["user_tag"], "<image>Which?\nA: mass\nB: cyst"), (tags["assistant_tag"], "B")]
    assert Path(row[info["columns"]["images"]][0]).exists()
    frozen = [told[f"freeze_{part}"] for part in ("vision_tower", "multi_modal_projector", "language_model")]
    assert frozen == [True, False, False]


def test_llama_factory_is_told_its_template_by_name_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="template"):
        export("llama_factory", tmp_path)


def test_ms_swift_reads_messages_with_images(tmp_path: Path) -> None:
    told = export("ms_swift", tmp_path, lora=LORA, trainable="all")
    (path,) = told["dataset"]
    row = json.loads(Path(path).read_text().splitlines()[1])
    assert row["messages"][0] == {"role": "user", "content": "<image>Which?\nA: mass\nB: cyst"}
    assert row["messages"][1] == {"role": "assistant", "content": "B"}
    assert (told["tuner_type"], told["lora_rank"], told["target_modules"]) == ("lora", 4, ["q_proj", "v_proj"])
    assert (told["freeze_vit"], told["freeze_llm"], told["add_version"]) == (False, False, False)


def test_a_question_that_has_the_mark_of_an_image_in_it_is_refused(tmp_path: Path) -> None:
    task = make_task(tmp_path, make_recipe("ms_swift"))
    marked = replace(task, samples=(replace(task.samples[0], question="Is <image> a word?"),))
    with pytest.raises(UserError, match="stands for an image"):
        ms_swift.export(marked)


def import_reader(name: str) -> Any:
    """Import a part of a trainer, or skip: each of them asks for other versions of transformers than the next."""
    os.environ["DISABLE_VERSION_CHECK"] = "1"
    try:
        return import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever it is that its surroundings lack
        pytest.skip(f"{name.partition('.')[0]} can't be imported here: {error}")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("lora", [None, LORA])
def test_trls_own_parser_knows_every_argument(tmp_path: Path, lora: Lora | None) -> None:
    sft = import_reader("trl.scripts.sft")
    config = trl.export(make_task(tmp_path, make_recipe("trl", lora=lora)))
    *_, unknown = sft.make_parser().parse_args_and_config(["--config", str(config)], return_remaining_strings=True)
    assert unknown == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("lora", [None, LORA])
def test_llama_factorys_own_readers_take_configuration_and_samples(tmp_path: Path, lora: Lora | None) -> None:
    parser = import_reader("llamafactory.hparams.parser")
    data = import_reader("llamafactory.data.parser")
    converters = import_reader("llamafactory.data.converter")
    recipe = make_recipe("llama_factory", '{"template": "llava"}', lora=lora)
    config = llama_factory.export(make_task(tmp_path, recipe))
    _, data_arguments, training, tuning, _ = parser._parse_train_args(read_config(config))  # refuses what it has not
    assert (training.learning_rate, tuning.finetuning_type) == (1e-3, "lora" if lora else "full")
    (found,) = data.get_dataset_list(data_arguments.dataset, data_arguments.dataset_dir)
    rows = json.loads((tmp_path / "data" / "train.json").read_text())
    read = converters.SharegptDatasetConverter(found, data_arguments)(rows[1])
    assert read["_prompt"] == [{"role": "user", "content": "<image>Which?\nA: mass\nB: cyst"}]
    assert read["_response"] == [{"role": "assistant", "content": "B"}]
    assert read["_images"] == rows[1]["images"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ms_swifts_own_arguments_have_every_key(tmp_path: Path) -> None:
    arguments = import_reader("swift.arguments")
    config = read_config(ms_swift.export(make_task(tmp_path, make_recipe("ms_swift", lora=LORA, trainable="all"))))
    assert set(config) <= {field.name for field in fields(arguments.SftArguments)}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_trl_takes_its_loss_at_the_very_tokens_that_cg_lab_does(backbone: LoadedBackbone, tmp_path: Path) -> None:
    trainer = import_reader("trl.trainer.sft_trainer")
    task = make_task(tmp_path, make_recipe("trl"))
    trl.export(task)
    rows = parquet.read_table(task.data / "samples" / "train.parquet").to_pylist()
    question = Question(text="Which?", options=("mass", "cyst"), answer=0)
    rows = [
        {**row, "prompt": [{"role": "user", "content": format_question(question, AnswerForm.LETTER)}]} for row in rows
    ]
    images = [Image.open(row["images"][0]["path"]) for row in rows]
    collate = trainer.DataCollatorForVisionLanguageModeling(backbone.processor, completion_only_loss=True)
    batch = collate([{**row, "images": [image]} for row, image in zip(rows, images, strict=True)])
    asked = [replace(question, answer=number % 2) for number in range(3)]
    lettered = replace(backbone, identity=replace(backbone.identity, answer=AnswerForm.LETTER))
    for place, example in enumerate(encode_questions(lettered, asked, images)):
        answer = list(example.options[example.answer])
        wanted = [*example.prompt, *answer]
        assert batch["input_ids"][place][batch["attention_mask"][place] == 1].tolist() == wanted
        assert batch["labels"][place][batch["labels"][place] != IGNORED].tolist() == answer
