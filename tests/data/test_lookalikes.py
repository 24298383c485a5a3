"""What counts as the same film: bits, correlation and brightness, each at its limit."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from cg_lab.data import lookalikes
from cg_lab.data.lookalikes import Gallery

HASH = 0x0F1E_2D3C_4B5A_6978
FILM = np.tile(np.array([50, 150], np.uint8), 128)


def hang(
    hashes: list[int], thumbnails: list[NDArray[np.uint8]] | None = None, spread: list[float] | None = None
) -> Gallery:
    return Gallery(
        np.array(hashes, np.uint64),
        np.stack(thumbnails or [FILM] * len(hashes)),
        np.array(spread or [0.2] * len(hashes), np.float32),
    )


def match(gallery: Gallery, queries: list[int], references: list[int]) -> list[int]:
    return gallery.match(np.array(queries, np.int64), np.array(references, np.int64)).tolist()


def are_alike(gallery: Gallery) -> bool:
    there, back = match(gallery, [0], [1]), match(gallery, [1], [0])
    assert (there, back) in [([1, -1], [-1, 0]), ([-1, -1], [-1, -1])]
    return there[0] == 1


def flip(*bits: int) -> int:
    return HASH ^ sum(1 << bit for bit in bits)


def test_one_bit_makes_no_other_film_whichever_it_is() -> None:
    assert all(are_alike(hang([HASH, flip(bit)])) for bit in range(64))


@pytest.mark.parametrize("bands", list(combinations(range(4), 3)))
def test_three_bits_make_no_other_film_wherever_they_are(bands: tuple[int, ...]) -> None:
    for offsets in ((0, 0, 0), (15, 15, 15), (3, 8, 11)):
        assert are_alike(hang([HASH, flip(*(16 * band + place for band, place in zip(bands, offsets, strict=True)))]))


@pytest.mark.parametrize("bits", [(0, 1, 2, 3), (0, 16, 32, 48), (60, 61, 62, 63), (15, 16, 17, 18)])
def test_four_bits_make_another_film(bits: tuple[int, ...]) -> None:
    assert not are_alike(hang([HASH, flip(*bits)]))


def test_thumbnails_must_correlate_with_99_hundredths() -> None:
    """Of 256 pixels, half dark and half bright, one that is turned leaves 0.992, two leave 0.984."""
    for turned, expected in ((1, True), (2, False)):
        other = FILM.copy()
        other[:turned] = 200 - other[:turned]
        assert (np.corrcoef(FILM, other)[0, 1] >= 0.99) == expected
        assert are_alike(hang([HASH, HASH], [FILM, other])) == expected


def test_brightness_and_contrast_make_no_other_film_and_a_negative_does() -> None:
    assert are_alike(hang([HASH, HASH], [FILM, FILM // 2 + 100]))
    assert not are_alike(hang([HASH, HASH], [FILM, 200 - FILM]))


def test_what_shows_nothing_is_like_nothing() -> None:
    assert are_alike(hang([HASH, HASH], spread=[0.01, 0.01]))
    assert not are_alike(hang([HASH, HASH], spread=[0.01, 0.0099]))
    assert not are_alike(hang([HASH, HASH], spread=[0.0099, 0.01]))
    flat = np.full(256, 9, np.uint8)
    assert not are_alike(hang([HASH, HASH], [flat, flat]))


def test_an_image_is_no_look_alike_of_itself_and_only_references_are_found() -> None:
    gallery = hang([HASH, flip(1), flip(2), ~HASH & (2**64 - 1)])
    assert match(gallery, [0, 3, 0], [0, 3]) == [-1] * 4
    assert match(gallery, [0, 1, 3], [2, 3]) == [2, 2, -1, -1]
    assert match(gallery, [], [0]) == match(gallery, [0], []) == [-1] * 4


@pytest.mark.parametrize(("block", "candidates"), [(lookalikes.BLOCK, lookalikes.CANDIDATES), (1, 1), (7, 3)])
def test_comparing_a_few_at_a_time_finds_what_comparing_all_finds(
    block: int, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookalikes, "BLOCK", block)
    monkeypatch.setattr(lookalikes, "CANDIDATES", candidates)
    generator = np.random.default_rng(0)
    films = generator.integers(0, 255, (4, 256), dtype=np.uint8)
    kinds = generator.integers(0, 4, 60)
    hashes = [(HASH * (kind + 1)) % 2**64 for kind in kinds.tolist()]
    hashes = [value ^ sum(1 << int(bit) for bit in generator.choice(64, 2, replace=False)) for value in hashes]
    gallery = hang(hashes, list(films[kinds]))
    bits = np.bitwise_count(gallery.hashes[:, None] ^ gallery.hashes[None, :])
    alike = (bits <= 3) & (kinds[:, None] == kinds[None, :]) & ~np.eye(60, dtype=bool)
    alike[:, 40:] = alike[:20] = False
    assert 0 < alike.any(axis=1).sum() < 40
    found = np.array(match(gallery, list(range(20, 60)), list(range(40))))
    assert ((found >= 0) == alike.any(axis=1)).all()
    assert all(alike[row, other] for row, other in enumerate(found) if other >= 0)
