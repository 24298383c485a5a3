"""The same film in another cut: less a row of pixels, mirrored, or in another window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cg_lab.data import altered_films
from cg_lab.data.altered_films import find_altered, hash_thumbnails, mirror
from tests.data.test_sides import describe, make_film, read, write

FILMS = [make_film(number) for number in range(200)]
SIDE = FILMS[0].width
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "left": lambda film: film.crop((1, 0, SIDE, SIDE)),
    "bottom": lambda film: film.crop((0, 0, SIDE, SIDE - 1)),
    "mirrored": ImageOps.mirror,
    "mirrored and smaller": lambda film: ImageOps.mirror(film).resize((40, 40)),
    "window": lambda film: film.point([min(255, max(0, round((level - 12) * 1.1))) for level in range(256)]),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_films_in_another_cut_are_found_and_no_others(change: str) -> None:
    gallery = describe([*FILMS, *(CHANGES[change](film) for film in FILMS)])
    numbers = np.arange(len(FILMS))
    found = find_altered(gallery, numbers + len(FILMS), numbers)[len(FILMS) :]
    assert (found == numbers).mean() > 0.95
    assert ((found == numbers) | (found < 0)).all()
    assert (find_altered(gallery, numbers, numbers) < 0).all()


def test_comparing_a_few_pairs_at_a_time_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = describe([*FILMS[:60], *map(ImageOps.mirror, FILMS[30:60]), *FILMS[50:60]])
    everything = np.arange(100)
    whole = find_altered(gallery, everything, everything)
    monkeypatch.setattr(altered_films, "BLOCK", 3)
    assert (find_altered(gallery, everything, everything) == whole).all()
    assert (whole >= 0).sum() == 30 + 30 + 10


def test_a_symmetric_image_is_not_its_own_mirror_image() -> None:
    half = np.asarray(FILMS[0])[:, : SIDE // 2]
    gallery = describe([Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)), FILMS[1]])
    assert (find_altered(gallery, np.arange(2), np.arange(2)) < 0).all()


def test_what_shows_nothing_is_like_nothing_in_any_cut() -> None:
    gallery = describe([Image.new("L", (64, 64), shade) for shade in (7, 7, 255)])
    assert (find_altered(gallery, np.arange(3), np.arange(3)) < 0).all()


def test_thumbnails_are_hashed_nearly_as_their_images_are_and_mirrored_exactly() -> None:
    gallery = describe(FILMS)
    assert np.bitwise_count(hash_thumbnails(gallery.thumbnails) ^ gallery.hashes).mean() < 3
    assert (mirror(gallery.thumbnails) == describe([ImageOps.mirror(film) for film in FILMS]).thumbnails).all()


def test_a_mirrored_test_image_that_trains_is_told_and_kept_out_where_the_user_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 20, "yes": 20})
    write(tmp_path, {"left": 20, "right": 20}, subset="b", offset=777)
    tested = [row["origin"] for row in read(path)[1].read_rows("a", "test")]
    for number, origin in enumerate(tested):
        ImageOps.mirror(Image.open(tmp_path / origin)).save(tmp_path / f"b-{number % 2}-{number}.png")
    catalog, source = read(path)
    trained = {row["origin"] for row in source.read_rows("b", "train")}
    twins = {f"b-{number % 2}-{number}.png" for number in range(len(tested))}
    told = [note for note in catalog.notes if "and trains; data.look_alikes=widely" in note.reason]
    assert sum(note.count for note in told if note.subject == "b") == len(trained & twins) > 0
    assert " like a-" in told[0].examples[0]
    counted = [note for note in catalog.notes if note.reason.startswith("looks like another image, mirrored")]
    assert {note.subject: note.count for note in counted} == {"a": len(tested), "b": len(tested)}
    catalog, source = read(path, "data.look_alikes=widely")
    assert not twins & {row["origin"] for row in source.read_rows("b", "train")}
    assert not any("and trains" in note.reason for note in catalog.notes)
