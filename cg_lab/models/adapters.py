"""Low-rank adapters, put on a backbone for one fine-tune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone, keep_untouched
from cg_lab.models.identity import find_local_folder
from cg_lab.models.model_parts import is_trainable
from cg_lab.recipe import Lora, TrainablePart


@contextmanager
def adapting(backbone: LoadedBackbone, lora: Lora | None, part: TrainablePart) -> Iterator[Any]:
    """Give the model to train: with adapters if the recipe has them, and without any trace of them afterwards.

    Parameters
    ----------
    backbone
        Its weights stay as they are where adapters are trained.
    lora
        None trains the weights of the part themselves.
    part
        Which part of the model a recipe trains.

    Raises
    ------
    UserError
        If no layer has a name that the recipe asks for.

    """
    if lora is None:
        trained = [name for name, parameter in backbone.model.named_parameters() if parameter.requires_grad]
        keep_untouched(backbone, [*trained, *dict(backbone.model.named_buffers())])
        yield backbone.model
        return
    from peft import LoraConfig, get_peft_model

    names = _find_layers(backbone.model, lora, part)
    identity = backbone.identity
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names,
        revision=None if find_local_folder(identity.path) else identity.revision,
    )  # fmt: skip
    adapted: Any = get_peft_model(backbone.model, config)
    try:
        yield adapted
    finally:
        adapted.unload()


def _find_layers(model: Any, lora: Lora, part: TrainablePart) -> list[str]:
    """Name the linear layers of the trainable part, the head aside."""
    linear = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name != "lm_head" and is_trainable(name, part)
    ]
    if lora.targets is None:
        return linear
    ends = tuple(lora.targets)
    found = [name for name in linear if any(name == end or name.endswith(f".{end}") for end in ends)]
    if not found:
        kinds = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise UserError(
            f"finetune.lora.targets: no linear layer ends in {', '.join(ends)}; there are {', '.join(kinds)}"
        )
    return found
