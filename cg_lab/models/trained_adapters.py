"""Adapters that fine-tunes left, put beside a model's weights while it is asked: one, or several merged by peft."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from cg_lab.planning.work import AdapterMerge
from cg_lab.results import ADAPTER_CONFIG


class UnreadableCheckpointError(Exception):
    """Saved weights can't be read, or are not of this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedAdapters:
    """Adapters that are asked as one."""

    folders: tuple[Path, ...]
    """Of the adapters, in the order of `merge.of`."""
    merge: AdapterMerge


@contextmanager
def adapting_to(model: Any, path: str, revision: str | None = None) -> Iterator[None]:
    """Put adapters beside the weights meanwhile.

    Raises
    ------
    UnreadableCheckpointError
        If they can't be read, or are of another model.

    """
    from peft import PeftModel

    with _telling_unreadable(model, Path(path)):
        adapted: Any = PeftModel.from_pretrained(model, path, revision=revision)
    try:
        yield
    finally:
        adapted.unload()


@contextmanager
def merging(model: Any, merged: MergedAdapters) -> Iterator[None]:
    """Put the merge of several adapters beside the weights meanwhile, as peft's `add_weighted_adapter` makes it.

    Raises
    ------
    UnreadableCheckpointError
        If one of them can't be read or is none, or they can't be merged in the way that is asked for.

    """
    from peft import PeftModel

    adapted: Any = None
    names = [f"part{number}" for number in range(len(merged.folders))]
    for name, folder in zip(names, merged.folders, strict=True):
        with _telling_unreadable(model, folder):
            if not (folder / ADAPTER_CONFIG).exists():
                raise ValueError("there are no adapters in it, which alone can be merged")
            if adapted is None:
                adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
            else:
                adapted.load_adapter(str(folder), adapter_name=name)
    merge = merged.merge
    with _telling_unreadable(model, merged.folders[0]):
        torch.manual_seed(merge.seed)
        adapted.add_weighted_adapter(
            names,
            list(merge.weights),
            "merged",
            combination_type=merge.method,
            density=merge.density,
            svd_full_matrices=False,  # of which only the first rows would be kept
        )
        adapted.set_adapter("merged")
    try:
        yield
    finally:
        adapted.unload()


@contextmanager
def _telling_unreadable(model: Any, folder: Path) -> Iterator[None]:
    """Leave no trace of adapters that peft finds it can't read."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        _take_adapters_off(model)
        raise UnreadableCheckpointError(tell_unreadable(folder, str(error))) from error


def _take_adapters_off(model: Any) -> None:
    """Put the layers back that peft had replaced before it found that it can't read their adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            model.set_submodule(name, layer.get_base_layer())
    vars(model).pop("peft_config", None)


def tell_unreadable(folder: Path, reason: str) -> str:
    """Say which weights can't be read, why, and what to do."""
    first = reason.strip().splitlines()[0] if reason.strip() else "no reason given"
    return (
        f"the weights in {folder} can't be read ({first}); "
        "remove that folder and give the same command again: the fine-tune is then run anew"
    )
