"""Images as a backbone reads them, prepared once and kept on disk for all jobs that ask about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers
from PIL import Image
from safetensors import SafetensorError

from cg_lab.locks import holding
from cg_lab.models.backbone import LoadedBackbone, restore_weights
from cg_lab.models.encoding import Seen, see_images
from cg_lab.models.pixels import Sight, find_sight
from cg_lab.models.shards import measure, read_shard, write_shard
from cg_lab.models.stored import Stored
from cg_lab.models.tower import FEATURES, compute_features, find_tower, pays_off
from cg_lab.serialize import content_id, replacing

PREPARED_SCHEMA = 3
GIGABYTE = 1_000_000_000
SHARD = 256
"""Images of one file: the most that is prepared again after a kill, and the least that a job reads."""


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

    def list_shards(self) -> list[tuple[str, ...]]:
        """Deal the ids to files."""
        return [self.ids[start : start + SHARD] for start in range(0, len(self.ids), SHARD)]


class PreparedImages:
    """Prepared images of one backbone, in shards.

    A shard is one file, written whole or not at all, verified by its hash when it is opened, and mapped into memory, so
    that it takes room in the page cache alone. The same file comes out whoever writes it, on whichever machine. Where
    the processor only scales values at the end, images are kept as bytes, and scaled when they are asked for, to the
    same values. Shards that were not used for longest make room for others.
    """

    def __init__(self, backbone: LoadedBackbone, folder: Path, max_gb: float) -> None:
        self.backbone = backbone
        self.folder = folder
        self.max_bytes = max_gb * GIGABYTE
        self._open: dict[str, dict[str, Seen]] = {}
        self._sights: dict[str, Sight | None] = {}

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
        wanted = set(ids)
        found: dict[str, Seen] = {}
        for shard in pool.list_shards() if pool.is_kept else [tuple(ids)]:
            asked = [one for one in shard if one in wanted]
            if not asked:
                continue
            seen = self._see_shard(pool, shard, asked, with_features=with_features)
            if seen is None:
                return None
            found |= seen
        return [found[one] for one in ids]

    def write(self, pool: Pool, shard: tuple[str, ...]) -> bool:
        """Write a shard without tower outputs ahead of all jobs; False if it can't be kept."""
        path = self._path(pool, shard, with_features=False)
        return path.exists() or self._write(path, pool, shard, with_features=False)

    def has(self, pool: Pool, shard: tuple[str, ...]) -> bool:
        """Tell whether a shard was written."""
        return self._path(pool, shard, with_features=False).exists()

    def _see_shard(
        self, pool: Pool, shard: tuple[str, ...], asked: Sequence[str], *, with_features: bool
    ) -> Mapping[str, Seen] | None:
        if pool.is_kept:
            name = self._path(pool, shard, with_features=with_features).stem
            if name not in self._open:
                fetched = self._fetch(pool, shard, with_features=with_features)
                if fetched is not None:
                    self._open[name] = fetched
            if name in self._open:
                return self._open[name]
        seen = self._prepare(pool, asked)
        if seen and with_features:
            seen = self._add_features(seen)
        return None if seen is None else dict(zip(asked, seen, strict=True))

    def _path(self, pool: Pool, shard: tuple[str, ...], *, with_features: bool) -> Path:
        identity = self.backbone.identity
        device = self.backbone.model.device.type if with_features else ""
        about = [pool.key, shard, identity.path, identity.revision, transformers.__version__, with_features, device]
        if identity.min_pixels or identity.max_pixels:
            about += [identity.min_pixels, identity.max_pixels]
        if identity.max_tiles:
            about.append({"max_tiles": identity.max_tiles})
        if with_features and identity.attention:
            about.append(identity.attention)
        return self.folder / f"{content_id('prepared', PREPARED_SCHEMA, about)}.safetensors"

    def _fetch(self, pool: Pool, shard: tuple[str, ...], *, with_features: bool) -> dict[str, Seen] | None:
        """Open a shard's file, or write it first; None if it can't be kept."""
        path = self._path(pool, shard, with_features=with_features)
        for _ in range(2):
            if not path.exists() and not self._write(path, pool, shard, with_features=with_features):
                return None
            try:
                found = read_shard(path)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                found = None
            if found is not None:
                with suppress(OSError):
                    os.utime(path)  # it was used
                return found
            path.unlink(missing_ok=True)  # damaged; it can be made again
        return None

    def _write(self, path: Path, pool: Pool, shard: tuple[str, ...], *, with_features: bool) -> bool:
        if not self.max_bytes:
            return False
        with holding(path.with_suffix(".lock"), wait=True):
            if path.exists():
                return True
            seen = self._prepare_with_features(pool, shard) if with_features else self._prepare(pool, shard)
            if not seen or not self._make_room(sum(measure(one) for one in seen)):
                return False
            try:
                with replacing(path) as beside:
                    write_shard(beside, shard, seen)
            except (OSError, SafetensorError):
                return False  # no room; what a job must write itself will say so
        path.with_suffix(".lock").unlink(missing_ok=True)
        return True

    def _make_room(self, needed: int) -> bool:
        """Remove shards that were not used for longest until there is room; False if there can't be."""
        files: list[tuple[float, int, Path]] = []
        for file in self.folder.glob("*.safetensors"):
            with suppress(OSError):
                status = file.stat()
                files.append((status.st_mtime, status.st_size, file))
        total = sum(size for _, size, _ in files)
        if needed > self.max_bytes:
            return False
        for _, size, file in sorted(files):
            if total + needed <= self.max_bytes:
                break
            file.unlink(missing_ok=True)  # whoever has mapped it keeps it
            total -= size
        return True

    def _prepare(self, pool: Pool, ids: Sequence[str]) -> list[Seen] | None:
        if not ids:
            return []
        if pool.key not in self._sights:
            self._sights[pool.key] = find_sight(self.backbone, pool.read(ids[:1])[0])
        sight = self._sights[pool.key]
        if sight is None:
            return see_images(self.backbone, pool.read(ids))
        # Files one after the other: an image is resized while it is still in the processor's cache.
        parts = [[one] for one in ids] if pool.is_kept else [ids]
        return [sight.see(image) for part in parts for image in pool.read(part)]

    def _prepare_with_features(self, pool: Pool, shard: tuple[str, ...]) -> list[Seen] | None:
        base = self._see_shard(pool, shard, shard, with_features=False)
        return None if base is None else self._add_features([base[one] for one in shard])

    def _add_features(self, seen: list[Seen]) -> list[Seen]:
        restore_weights(self.backbone)  # an earlier job may have left a tower that it trained
        if not self._features_pay_off(seen):
            return seen
        features = compute_features(self.backbone, seen)
        assert features is not None
        return [_add(one, values) for one, values in zip(seen, features, strict=True)]

    def _features_pay_off(self, seen: list[Seen]) -> bool:
        first = compute_features(self.backbone, seen[:1])
        return first is not None and pays_off(self.backbone, len(seen[0].prompt), first[0])


def _add(seen: Seen, features: torch.Tensor) -> Seen:
    stored = seen.image if isinstance(seen.image, Stored) else Stored(seen.image, None)
    return replace(seen, image=Stored({**stored.tensors, FEATURES: features}, stored.table_CV))
