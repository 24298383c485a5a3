"""Images as bytes that become a processor's values when a batch is put where a model is: a quarter of the room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

PIXELS = "pixels"
"""Name of the bytes; what models are given is called `pixel_values`."""
TABLE = "pixel_table"
"""Name of their table in a batch."""
VALUES = "pixel_values"


class Stored(Mapping[str, torch.Tensor]):
    """What a processor gives of one image; pixel values are looked up when they are asked for.

    Parameters
    ----------
    tensors
        By the model's names, or with bytes `pixels` (1, 3, height, width) in place of `pixel_values`.
    table_CV
        What the processor makes of each of the 256 values of each colour; None without bytes.

    """

    __slots__ = ("table_CV", "tensors")

    def __init__(self, tensors: Mapping[str, torch.Tensor], table_CV: torch.Tensor | None) -> None:
        self.tensors = tensors
        self.table_CV = table_CV

    def __getitem__(self, key: str) -> torch.Tensor:
        """Give a tensor, with its first axis."""
        if key == VALUES and self.table_CV is not None:
            return look_up(self.tensors[PIXELS], self.table_CV)
        return self.tensors[key]

    def __iter__(self) -> Iterator[str]:
        """Name what there is."""
        return (VALUES if key == PIXELS else key for key in self.tensors)

    def __len__(self) -> int:
        """Count what there is."""
        return len(self.tensors)

    def without(self, key: str) -> Stored:
        """Leave one out."""
        return Stored({name: values for name, values in self.tensors.items() if name != key}, self.table_CV)


def look_up(pixels_NCHW: torch.Tensor, table_CV: torch.Tensor) -> torch.Tensor:
    """Give the processor's values of bytes."""
    offsets = torch.arange(0, table_CV.numel(), table_CV.shape[1], dtype=torch.int32, device=table_CV.device)
    places = (pixels_NCHW.to(torch.int32) + offsets[:, None, None]).view(-1)
    return table_CV.view(-1).index_select(0, places).view(pixels_NCHW.shape)


def give_values(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Look up the pixel values of a batch that holds bytes; others stay as they are."""
    if PIXELS not in batch:
        return dict(batch)
    values = look_up(batch[PIXELS], batch[TABLE])
    return {key: part for key, part in batch.items() if key not in {PIXELS, TABLE}} | {VALUES: values}


def find_table(images: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor | None:
    """Give the table that all images share; None if some hold values."""
    first = images[0]
    if not isinstance(first, Stored) or first.table_CV is None:
        return None
    is_shared = all(
        isinstance(one, Stored)
        and one.table_CV is not None
        and (one.table_CV is first.table_CV or one.table_CV.equal(first.table_CV))
        for one in images
    )
    return first.table_CV if is_shared else None
