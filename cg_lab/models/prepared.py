"""Images as a backbone reads them, prepared once and kept on disk for all jobs that ask about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cg_lab.locks import holding
from cg_lab.models.backbone import LoadedBackbone, restore_weights
from cg_lab.models.encoding import Seen, see_images
from cg_lab.models.tower import FEATURES, compute_features, find_tower, pays_off
from cg_lab.serialize import content_id, replacing

PREPARED_SCHEMA = 1
GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Images that are prepared together: one side of a subset."""

    key: str
    """Names the data, the subset and the side; never a place."""
    ids: tuple[str, ...]
    read: Callable[[Sequence[str]], list[Image.Image]]
    """Reads the images with some of the ids."""
    is_kept: bool = True
    """False where reading is as fast as a file would be, as of phantoms, which are drawn."""


class PreparedImages:
    """Prepared images of one backbone.

    A pool is one file, written whole or not at all and mapped into memory, so that a large pool takes room in the page
    cache alone. The same file comes out whoever writes it. A pool that would not fit is prepared for each job anew.
    """

    def __init__(self, backbone: LoadedBackbone, folder: Path, max_gb: float) -> None:
        self.backbone = backbone
        self.folder = folder
        self.max_bytes = max_gb * GIGABYTE
        self._open: dict[tuple[str, bool], dict[str, Seen]] = {}

    def see(self, pool: Pool, ids: Sequence[str], *, with_features: bool = False) -> list[Seen] | None:
        """Give some of a pool's images as the backbone reads them.

        Parameters
        ----------
        pool, ids
            Which images.
        with_features
            Add the outputs of the untouched vision tower, where they are worth it.

        Returns
        -------
        None if the backbone's processor can't read an image apart from its question.

        """
        with_features = with_features and find_tower(self.backbone) is not None
        key = (pool.key, with_features)
        if not pool.is_kept:
            return self._prepare(pool, ids, with_features=with_features)
        if key not in self._open:
            found = self._fetch(pool, with_features=with_features)
            if found is None:
                return self._prepare(pool, ids, with_features=with_features)
            self._open[key] = found
        return [self._open[key][one] for one in ids]

    def _fetch(self, pool: Pool, *, with_features: bool) -> dict[str, Seen] | None:
        """Open a pool's file, or write it first; None if it can't be kept."""
        identity = self.backbone.identity
        device = self.backbone.model.device.type if with_features else ""
        name = content_id(
            "prepared",
            PREPARED_SCHEMA,
            [pool.key, identity.path, identity.revision, transformers.__version__, with_features, device],
        )
        path = self.folder / f"{name}.safetensors"
        if not path.exists() and not self._write(path, pool, with_features=with_features):
            return None
        try:
            return _read_pool(path)
        except (OSError, SafetensorError):
            path.unlink(missing_ok=True)  # it can be made again
            return None

    def _write(self, path: Path, pool: Pool, *, with_features: bool) -> bool:
        probe = self._prepare(pool, pool.ids[:1], with_features=with_features)
        if not probe or self._count_bytes() + _measure(probe[0]) * len(pool.ids) > self.max_bytes:
            return False
        with holding(path.with_suffix(".lock"), wait=True):
            if path.exists():
                return True
            seen = self._prepare(pool, pool.ids, with_features=with_features)
            if seen is None:
                return False
            try:
                with replacing(path) as beside:
                    save_file(_flatten(seen), beside, {"ids": json.dumps(pool.ids), "tail": seen[0].tail})
            except (OSError, SafetensorError):
                return False  # no room; what a job must write itself will say so
        path.with_suffix(".lock").unlink(missing_ok=True)
        return True

    def _count_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))

    def _prepare(self, pool: Pool, ids: Sequence[str], *, with_features: bool) -> list[Seen] | None:
        seen = see_images(self.backbone, pool.read(ids))
        if not seen or not with_features:
            return seen
        restore_weights(self.backbone)  # an earlier job may have left a tower that it trained
        first = compute_features(self.backbone, seen[:1])
        if first is None or not pays_off(self.backbone, len(seen[0].prompt), first[0]):
            return seen
        features = compute_features(self.backbone, seen)
        assert features is not None
        return [replace(one, image={**one.image, FEATURES: values}) for one, values in zip(seen, features, strict=True)]


def _measure(seen: Seen) -> int:
    return sum(values.numel() * values.element_size() for values in (*seen.image.values(), *seen.tokens.values()))


def _flatten(seen: Sequence[Seen]) -> dict[str, torch.Tensor]:
    """Lay images out as tensors: one a key where shapes allow, else one an image."""
    flat = {
        "prompt": torch.tensor([token for one in seen for token in one.prompt]),
        "rows.prompt": torch.tensor([len(one.prompt) for one in seen]),
    }
    for group, parts in (("image", [one.image for one in seen]), ("tokens", [one.tokens for one in seen])):
        for key in parts[0]:
            values = [part[key] for part in parts]
            if len({value.shape[1:] for value in values}) == 1:
                flat[f"{group}.{key}"] = torch.cat(values)
                flat[f"rows.{group}.{key}"] = torch.tensor([len(value) for value in values])
            else:
                flat |= {f"{group}.{key}.{number}": value.contiguous() for number, value in enumerate(values)}
    return flat


def _read_pool(path: Path) -> dict[str, Seen]:
    """Map a pool's file into memory."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        names = set(file.keys())
        tensors: dict[str, Any] = {name: file.get_tensor(name) for name in names}
    ids = json.loads(about["ids"])

    def take(prefix: str) -> list[torch.Tensor]:
        if f"rows.{prefix}" in names:
            return list(tensors[prefix].split(tensors[f"rows.{prefix}"].tolist()))
        return [tensors[f"{prefix}.{number}"] for number in range(len(ids))]

    columns = {
        group: {
            key: take(f"{group}.{key}")
            for key in sorted({name.split(".")[1] for name in names if name.startswith(f"{group}.")})
        }
        for group in ("image", "tokens")
    }
    return {
        one: Seen(
            prompt=prompt.tolist(),
            tail=about["tail"],
            image={key: values[number] for key, values in columns["image"].items()},
            tokens={key: values[number] for key, values in columns["tokens"].items()},
        )
        for number, (one, prompt) in enumerate(zip(ids, take("prompt"), strict=True))
    }
