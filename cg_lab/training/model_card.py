"""What lies beside a fine-tune's weights, so that others can open them: processor, tokenizer, template, and a card."""

from __future__ import annotations

import shutil
from pathlib import Path

import peft
import torch
import transformers
from transformers.utils.hub import cached_file

from cg_lab.models.identity import PACKAGED, find_local_folder, list_read_files
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import ADAPTER_CONFIG
from cg_lab.serialize import read_json, to_plain, write_json, write_text
from cg_lab.study import Backbone
from cg_lab.version import __version__


def complete_checkpoint(folder: Path, job: FinetuneJob, plan: str) -> None:
    """Put what a fine-tune's weights are asked with beside them, as its backbone has it.

    Parameters
    ----------
    folder
        Holds the weights.
    job
        What was trained, and on what.
    plan
        Name and id of the plan that it was trained for.

    """
    source = find_local_folder(job.backbone.path) or _find_snapshot(job.backbone)
    if source is not None:
        _copy_read_files(source, folder)
        _write_pixels(job.backbone, folder)
    write_text(folder / "README.md", write_card(job, plan, is_adapter=(folder / ADAPTER_CONFIG).exists()))


def _copy_read_files(source: Path, folder: Path) -> None:
    """Copy all that decides what a model reads and writes, but for what its weights bring themselves."""
    for name in list_read_files(source):
        if name not in {"config.json", "generation_config.json"}:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)


def _write_pixels(backbone: Backbone, folder: Path) -> None:
    """Write the range of pixels that images were resized to where a processor looks for it."""
    limits = {"min_pixels": backbone.min_pixels, "max_pixels": backbone.max_pixels}
    given = {name: pixels for name, pixels in limits.items() if pixels is not None}
    for file in folder.glob("*processor_config.json") if given else ():
        described = read_json(file)
        images = described.get("image_processor", described)
        if file.name == "preprocessor_config.json" or images is not described:
            images |= given
            write_json(file, described)


def _find_snapshot(backbone: Backbone) -> Path | None:
    """Find the folder of the hub's cache that a model was loaded from; None for one that was made in memory."""
    try:  # the hub itself is not asked: compute nodes seldom reach it
        found = cached_file(backbone.path, "config.json", revision=backbone.revision, local_files_only=True)
    except OSError:
        return None
    return Path(found).parent if found else None


def write_card(job: FinetuneJob, plan: str, *, is_adapter: bool) -> str:
    """Write a model card in the hub's form: where a model comes from, and how to open it."""
    base = job.backbone
    mixture = "\n".join(f"| {part.subset} | {part.count} |" for part in job.mixture.parts)
    recipe = "\n".join(f"| {name} | {value} |" for name, value in to_plain(job.recipe).items())
    head = "" if base.path in PACKAGED else f"base_model: {base.path}\n"
    return f"""---
library_name: {"peft" if is_adapter else "transformers"}
pipeline_tag: image-text-to-text
{head}tags:
- cg_lab
---

# {base.name}, fine-tuned: job {job.id}

{"Low-rank adapters for" if is_adapter else "Weights of"} `{base.path}` at revision `{base.revision}`,
trained to answer with {base.answer.value}s, for the plan {plan or "of one job"}.

```python
{_write_lines(base.path, is_adapter=is_adapter)}
```

cg_lab asks them with `{"model.adapter" if is_adapter else "model.path"}=` and this folder.

## Trained on

| subset | samples of an epoch |
|---|---|
{mixture}

Drawn with seed {job.mixture.seed}, labels {job.mixture.labels}, asked for the {job.mixture.ask};
trained with seed {job.seed}.

## Recipe

| setting | value |
|---|---|
{recipe}

cg_lab {__version__}, torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}.
"""


def _write_lines(path: str, *, is_adapter: bool) -> str:
    name = "AutoModelForImageTextToText"
    base = str(PACKAGED[path]) if path in PACKAGED else path
    if is_adapter:
        return (
            f"from transformers import AutoProcessor, {name}; from peft import PeftModel\n"
            f'model = PeftModel.from_pretrained({name}.from_pretrained("{base}"), FOLDER)\n'
            "processor = AutoProcessor.from_pretrained(FOLDER)"
        )
    return (
        f"from transformers import AutoProcessor, {name}\n"
        f"model = {name}.from_pretrained(FOLDER)\n"
        "processor = AutoProcessor.from_pretrained(FOLDER)"
    )
