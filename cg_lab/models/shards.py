"""Files of prepared images: safetensors, written piece by piece, so that a shard is never held twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import safe_open

from cg_lab.models.encoding import Seen
from cg_lab.models.stored import Stored

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""As the format names them: https://huggingface.co/docs/safetensors (Format)."""
Pieces = list[torch.Tensor]
"""Tensors that join along the first axis."""


def list_tensors(seen: Seen) -> Mapping[str, torch.Tensor]:
    """Give an image's tensors as they are kept."""
    return seen.image.tensors if isinstance(seen.image, Stored) else seen.image


def measure(seen: Seen) -> int:
    """Count the bytes that an image takes."""
    return sum(
        values.numel() * values.element_size() for values in (*list_tensors(seen).values(), *seen.tokens.values())
    )


def write_shard(path: Path, ids: Sequence[str], seen: Sequence[Seen]) -> None:
    """Write images: one tensor a key where shapes allow, else one an image."""
    flat: dict[str, Pieces] = {
        "prompt": [torch.tensor([token for one in seen for token in one.prompt])],
        "rows.prompt": [torch.tensor([len(one.prompt) for one in seen])],
    }
    first = seen[0].image
    if isinstance(first, Stored) and first.table_CV is not None:
        flat["table"] = [first.table_CV]
    for group, parts in (("image", [list_tensors(one) for one in seen]), ("tokens", [one.tokens for one in seen])):
        for key in parts[0]:
            values = [part[key] for part in parts]
            if len({value.shape[1:] for value in values}) == 1:
                flat[f"{group}.{key}"] = values
                flat[f"rows.{group}.{key}"] = [torch.tensor([len(value) for value in values])]
            else:
                flat |= {f"{group}.{key}.{number}": [value] for number, value in enumerate(values)}
    _write(path, flat, {"ids": list(ids), "tail": seen[0].tail, "hash": _hash(flat)})


def _write(path: Path, flat: Mapping[str, Pieces], about: Mapping[str, Any]) -> None:
    """Write the format: the length of a JSON header, the header, then the bytes of all tensors without gaps."""
    # Wide numbers first, so that each lies at a multiple of its size.
    names = sorted(flat, key=lambda name: (-flat[name][0].element_size(), name))
    header: dict[str, Any] = {"__metadata__": {"about": json.dumps(about)}}
    end = 0
    for name in names:
        pieces = flat[name]
        start, end = end, end + sum(piece.numel() * piece.element_size() for piece in pieces)
        shape = [sum(len(piece) for piece in pieces), *pieces[0].shape[1:]]
        header[name] = {"dtype": DTYPES[pieces[0].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for piece in flat[name]:
                file.write(_to_bytes(piece))


def _to_bytes(values: torch.Tensor) -> memoryview:
    return values.contiguous().view(-1).view(torch.uint8).numpy().data if values.numel() else memoryview(b"")


def _hash(flat: Mapping[str, Pieces]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(flat):
        pieces = flat[name]
        digest.update(f"{name} {pieces[0].dtype} {[sum(map(len, pieces)), *pieces[0].shape[1:]]}".encode())
        for piece in pieces:
            digest.update(_to_bytes(piece))
    return digest.hexdigest()


def read_shard(path: Path) -> dict[str, Seen] | None:
    """Map a shard into memory; None if it is not what was written.

    Raises
    ------
    OSError, SafetensorError, KeyError, TypeError, ValueError
        If it is no shard at all.

    """
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if _hash({name: [values] for name, values in tensors.items()}) != about["hash"]:
        return None
    ids = about["ids"]

    def take(prefix: str) -> list[torch.Tensor]:
        if f"rows.{prefix}" in tensors:
            return list(tensors[prefix].split(tensors[f"rows.{prefix}"].tolist()))
        return [tensors[f"{prefix}.{number}"] for number in range(len(ids))]

    columns = {
        group: {key: take(f"{group}.{key}") for key in _list_keys(tensors, group)} for group in ("image", "tokens")
    }
    table: torch.Tensor | None = tensors.get("table")
    return {
        one: Seen(
            prompt=prompt.tolist(),
            tail=about["tail"],
            image=Stored({key: values[number] for key, values in columns["image"].items()}, table),
            tokens={key: values[number] for key, values in columns["tokens"].items()},
        )
        for number, (one, prompt) in enumerate(zip(ids, take("prompt"), strict=True))
    }


def _list_keys(names: Iterable[str], group: str) -> list[str]:
    return sorted({name.split(".")[1] for name in names if name.startswith(f"{group}.")})
