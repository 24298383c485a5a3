"""What lies beside a fine-tune's weights, so that others can open them: processor, tokenizer, template, and a card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import peft
import torch
import transformers
from transformers.utils.hub import cached_file

from cg_lab.models.identity import PACKAGED, find_local_folder, list_read_files
from cg_lab.models.image_limits import GRIDS, is_limited
from cg_lab.models.processors import apply_image_limits, load_processor
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import ADAPTER_CONFIG
from cg_lab.serialize import read_json, to_plain, write_json, write_text
from cg_lab.study import Backbone
from cg_lab.version import __version__

Kind = Literal["whole", "adapter", "adapter with grids"]
"""What a fine-tune left: weights, or adapters, which may need the model's list of grids told (`image_limits`)."""


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
    source = find_local_folder(job.base.path) or find_snapshot(job.base)
    has_grids = False
    if source is not None:
        _copy_read_files(source, folder)
        has_grids = _write_image_limits(job.base, source, folder)
    kind = "whole" if not (folder / ADAPTER_CONFIG).exists() else "adapter with grids" if has_grids else "adapter"
    write_text(folder / "README.md", write_card(job, plan, kind))


def _copy_read_files(source: Path, folder: Path) -> None:
    """Copy all that decides what a model reads and writes, but for what its weights bring themselves."""
    for name in list_read_files(source):
        if name not in {"config.json", "generation_config.json"}:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)


def _write_image_limits(backbone: Backbone, source: Path, folder: Path) -> bool:
    """Write how large images were read where a processor looks for it; tell whether that is a list of grids.

    A model's own such list lies beside its weights; beside adapters there is none.
    """
    if not is_limited(backbone):
        return False
    changed = apply_image_limits(load_processor({"pretrained_model_name_or_path": str(source)}), backbone)
    for file in folder.glob("*processor_config.json"):
        described = read_json(file)
        images = described.get("image_processor", described)
        if file.name == "preprocessor_config.json" or images is not described:
            for old in ("min_pixels", "max_pixels") if "size" in changed else ():
                images.pop(old, None)  # it would win over the size
            images |= changed
            write_json(file, described)
    return GRIDS in changed


def find_snapshot(backbone: Backbone) -> Path | None:
    """Find the folder of the hub's cache that a model was loaded from; None for one that was made in memory."""
    try:  # the hub itself is not asked: compute nodes seldom reach it
        found = cached_file(backbone.path, "config.json", revision=backbone.revision, local_files_only=True)
    except OSError:
        return None
    return Path(found).parent if found else None


def write_card(job: FinetuneJob, plan: str, kind: Kind) -> str:
    """Write a model card in the hub's form: where a model comes from, and how to open it."""
    base, is_adapter = job.base, kind != "whole"
    mixture = "\n".join(f"| {part.subset} | {part.count} |" for part in job.mixture.parts)
    recipe = "\n".join(
        f"| {name} | {value} |" for name, value in to_plain(job.recipe).items() if name in job.recipe.said
    )
    head = "" if base.path in PACKAGED else f"base_model: {base.path}\n"
    return f"""---
library_name: {"peft" if is_adapter else "transformers"}
pipeline_tag: image-text-to-text
{head}tags:
- cg_lab
---

# {base.name}, fine-tuned: job {job.id}

{"Low-rank adapters for" if is_adapter else "Weights of"} `{base.path}` at revision `{base.revision}`,
trained to answer with {base.answer.value}s{_tell_trainer(job)}, for the plan {plan or "of one job"}.

```python
{_write_lines(base.path, kind)}
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


def _tell_trainer(job: FinetuneJob) -> str:
    match job.recipe.by:
        case "cg_lab":
            return ""
        case "command":
            return f" by {job.recipe.version}"
        case "elsewhere":
            return ", as it is declared, elsewhere"


def _write_lines(path: str, kind: Kind) -> str:
    name = "AutoModelForImageTextToText"
    base = f'"{PACKAGED.get(path, path)}"'
    processor = "processor = AutoProcessor.from_pretrained(FOLDER)\n"
    if kind == "whole":
        return f"from transformers import AutoProcessor, {name}\n{processor}model = {name}.from_pretrained(FOLDER)"
    if kind == "adapter with grids":
        base += f", {GRIDS}=processor.image_processor.{GRIDS}"
    return (
        f"from transformers import AutoProcessor, {name}; from peft import PeftModel\n{processor}"
        f"model = PeftModel.from_pretrained({name}.from_pretrained({base}), FOLDER)"
    )
