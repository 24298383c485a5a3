"""Sides, letters and look-alikes: what holds for every source."""

from __future__ import annotations

import time
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from cg_lab.catalog import UNGROUPED, Catalog
from cg_lab.config import read_study
from cg_lab.data.facts import THUMBNAIL, hash_differences
from cg_lab.data.lookalikes import Gallery
from cg_lab.data.samples import DataSource, Split, ask
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.data.table import TableSource
from cg_lab.errors import UserError


def make_film(number: int, side: int = 64) -> Image.Image:
    """Draw something smooth, as films are: two images of different numbers have nothing in common."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def write(folder: Path, labels: dict[str, int], *, offset: int = 0, subset: str = "a", columns: str = "") -> Path:
    """Write so many images of each label, and a manifest of them."""
    folder.mkdir(exist_ok=True)
    lines: list[str] = []
    for place, (label, count) in enumerate(labels.items()):
        for number in range(count):
            name = f"{subset}-{place}-{number}.png"
            make_film(offset + 10_000 * place + number).save(folder / name)
            lines.append(f"{name},{label},{subset},CT,Lung,{subset}{columns}")
    path = folder / "manifest.csv"
    head = [] if path.exists() else ["image,label,subset,modality,area,task" + (",split" if columns else "")]
    with path.open("a") as file:
        file.write("\n".join([*head, *lines]) + "\n")
    return path


def read(path: Path, *overrides: str) -> tuple[Catalog, TableSource]:
    kept = path.parent / "kept"
    catalog = read_catalog(read_study(["data=manifest", f"data.path={path}", *overrides]).data, kept)
    source = open_source(catalog, kept)
    assert isinstance(source, TableSource)
    return catalog, source


def count_letters(source: DataSource, split: Split) -> Counter[tuple[str, int]]:
    return Counter((sample.label, ask(source, sample).answer) for sample in source.read_samples("a", split))


@pytest.mark.parametrize("labels", [{"no": 43, "yes": 43}, {"i": 30, "ii": 31, "iii": 47}, dict.fromkeys("abcdef", 21)])
def test_right_options_stand_at_every_letter_equally_often(labels: dict[str, int], tmp_path: Path) -> None:
    _, source = read(write(tmp_path, labels))
    for split in Split:
        counts = count_letters(source, split)
        for label in labels:
            places = [counts[label, place] for place in range(min(4, len(labels)))]
            assert max(places) - min(places) <= 1


def test_questions_depend_on_seed_and_sample_and_on_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path, dict.fromkeys("abcdef", 12))
    _, first = read(path)
    path.write_text("\n".join([(lines := path.read_text().splitlines())[0], *lines[:0:-1]]))
    _, turned = read(path)
    _, other = read(path, "data.seed=1")
    samples = [sample for split in Split for sample in first.read_samples("a", split)]
    asked = {sample.id: ask(first, sample) for sample in samples}
    again = [sample for split in Split for sample in turned.read_samples("a", split)]
    assert {sample.id: ask(turned, sample) for sample in reversed(again)} == asked
    assert {sample.id: ask(other, sample) for sample in samples} != asked
    assert len({question.text for question in asked.values()}) == 6


def test_what_exceeds_the_cap_is_kept_aside_and_caps_are_even_over_labels(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 20, "yes": 60})
    catalog, source = read(path, "data.max_train=30")
    assert Counter(sample.label for sample in source.read_samples("a", Split.TRAIN)) == {"no": 15, "yes": 15}
    assert Counter(sample.label for sample in source.read_samples("a", Split.TEST)) == {"no": 5, "yes": 5}
    assert len(source.read_rows("a", "spare")) == 40
    more, larger = read(path, "data.max_train=60")
    assert more.data != catalog.data
    assert set(source.read_samples("a", Split.TRAIN)) < set(larger.read_samples("a", Split.TRAIN))
    assert {one.id for one in source.read_samples("a", Split.TEST)} == {
        one.id for one in larger.read_samples("a", Split.TEST)
    }


def test_the_sources_own_sides_are_kept_unless_they_shall_be_drawn(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 30, "yes": 30})
    lines = path.read_text().splitlines()
    sides = ["test"] * 8 + ["val"] * 4 + ["train"] * 18
    path.write_text("\n".join([lines[0] + ",split", *(f"{line},{sides[i % 30]}" for i, line in enumerate(lines[1:]))]))
    catalog, source = read(path)
    assert (catalog.subsets[0].num_train, catalog.subsets[0].num_test) == (36, 16)
    assert len(source.read_rows("a", "spare")) == 8
    drawn, _ = read(path, "data.split=drawn")
    assert (drawn.subsets[0].num_train, drawn.subsets[0].num_test) == (44, 16)


def test_a_look_alike_of_a_test_image_never_trains_not_even_for_another_task(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 20, "yes": 20})
    write(tmp_path, {"left": 20, "right": 20}, subset="b", offset=777)
    plain, source = read(path)
    tested = source.read_rows("a", "test")
    for number, row in enumerate(tested):  # the same films again, compressed and brightened, for the other task
        film = Image.open(tmp_path / row["origin"])
        ImageEnhance.Brightness(film).enhance(1.05).save(tmp_path / f"b-{number % 2}-{number}.jpg", quality=70)
    text = path.read_text()
    for number in range(len(tested)):
        text = text.replace(f"b-{number % 2}-{number}.png", f"b-{number % 2}-{number}.jpg")
    path.write_text(text)
    catalog, moved = read(path)
    twins = {f"b-{number % 2}-{number}.jpg" for number in range(len(tested))}
    trained = {row["origin"] for row in moved.read_rows("b", "train")}
    out = {row["origin"] for row in moved.read_rows("b", "moved")} | {
        row["origin"] for row in moved.read_rows("a", "moved")
    }
    assert not trained & twins
    assert out
    told = [note for note in catalog.notes if "looks like a test image" in note.reason]
    assert sum(note.count for note in told) == len(out)
    assert " like " in told[0].examples[0]
    kept, _ = read(path, "data.look_alikes=kept")
    assert not any("looks like" in note.reason for note in kept.notes)
    assert plain.data != catalog.data


def describe(images: list[Image.Image]) -> Gallery:
    grays = [image.convert("L") for image in images]
    hashes = np.array([hash_differences(gray) for gray in grays], np.uint64)
    thumbs = np.stack([np.asarray(gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)).ravel() for gray in grays])
    spread = np.array([np.asarray(gray).std() / 255 for gray in grays], np.float32)
    return Gallery(hashes, thumbs, spread)


def match(images: list[Image.Image]) -> NDArray[np.int64]:
    everything = np.arange(len(images))
    return describe(images).match(everything, everything)


def compress(image: Image.Image) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


def test_films_stored_otherwise_are_look_alikes_and_others_are_not() -> None:
    films = [make_film(number) for number in range(300)]
    assert (match(films) < 0).all()
    changes = {
        "compressed": compress,
        "halved": lambda film: film.resize((32, 32), Image.Resampling.LANCZOS),
        "doubled": lambda film: film.resize((128, 128), Image.Resampling.BICUBIC),
        "brightened": lambda film: ImageEnhance.Brightness(film).enhance(1.1),
        "flattened": lambda film: ImageEnhance.Contrast(film).enhance(0.8),
        "blurred": lambda film: film.filter(ImageFilter.GaussianBlur(1)),
        "coloured": lambda film: film.convert("RGB"),
    }
    for name, change in changes.items():
        found = match([*films, *(change(film) for film in films)])[300:]
        assert (found == np.arange(300)).mean() > 0.95, name
        assert ((found == np.arange(300)) | (found < 0)).all(), name


def test_mirrored_films_and_films_that_show_nothing_are_no_look_alikes() -> None:
    films = [make_film(number) for number in range(50)]
    mirrored = [film.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for film in films]
    assert (match([*films, *mirrored]) < 0).all()
    assert (match([Image.new("L", (64, 64), shade) for shade in (0, 0, 7, 255)]) < 0).all()


def test_look_alikes_are_those_of_comparing_every_pair() -> None:
    generator = np.random.default_rng(0)
    films = [make_film(number) for number in range(120)]
    films += [compress(films[number]) for number in generator.integers(0, 120, 60)]
    gallery = describe(films)
    found = gallery.match(np.arange(len(films)), np.arange(len(films)))
    bits = np.bitwise_count(gallery.hashes[:, None] ^ gallery.hashes[None, :])
    thumbs = gallery.thumbnails - gallery.thumbnails.mean(axis=1, keepdims=True)
    alike = (bits <= 3) & (np.corrcoef(thumbs) >= 0.99) & ~np.eye(len(films), dtype=bool)
    assert ((found >= 0) == alike.any(axis=1)).all()
    assert all(alike[row, other] for row, other in enumerate(found) if other >= 0)


def test_an_image_that_changed_after_it_was_split_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    _, source = read(path)
    samples = source.read_samples("a", Split.TEST)
    origin = source.read_rows("a", "test")[0]["origin"]
    make_film(99).save(tmp_path / origin)
    with pytest.raises(UserError, match=f"'{origin}' .* has changed since it was split; plan again"):
        source.read_images(samples)
    (tmp_path / origin).unlink()
    with pytest.raises(UserError, match=f"'{origin}' .* can't be read any more: missing; plan again"):
        source.read_images(samples)


def test_images_that_did_not_change_are_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    first, _ = read(path)
    opened: list[str] = []
    from cg_lab.data import facts

    original = facts._measure_one
    monkeypatch.setattr(facts, "_measure_one", lambda *told: opened.append(told[1]) or original(*told))
    assert read(path)[0] == first
    assert not opened
    make_film(5).save(tmp_path / "a-0-0.png")
    make_film(6).save(tmp_path / "a-1-8.png")
    with path.open("a") as file:
        file.write("a-1-8.png,yes,a,CT,Lung,a\n")
    assert read(path)[0] != first
    assert sorted(opened) == ["a-0-0.png", "a-1-8.png"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a-0-0.png,Yes,a,CT,Lung,a"], "labels '.es' and '.es' differ only in case or form"),
        (["new.png,NaN,a,CT,Lung,a"], "line 18: empty label"),
        (["new.png,nan,a,CT,Lung,a"], "line 18: empty label"),
        (["new.png,y\u202ees,a,CT,Lung,a"], "line 18: label .* holds characters that are not printed"),
        (["new.png,yes,a,CT,Lung,a,more"], "line 18: more cells than the 6 columns"),
    ],
)
def test_bad_labels_are_refused_with_their_line(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    make_film(31).save(tmp_path / "new.png")
    with path.open("a") as file:
        file.write("\n".join(line.replace("a-0-0", "new") for line in lines) + "\n")
    with pytest.raises(UserError, match=message):
        read(path)


def test_labels_of_all_scripts_are_kept_and_one_form_of_unicode_is_used(tmp_path: Path) -> None:
    labels = {"ورم": 8, "תקין": 8, "=1+1": 8, "cafe\u0301": 8, "می\u200cشود": 8}
    catalog, _ = read(write(tmp_path, labels))
    assert set(catalog.subsets[0].labels) == {"ورم", "תקין", "=1+1", "caf\u00e9", "می\u200cشود"}


@pytest.mark.slow
def test_a_quarter_million_lines_most_of_them_without_an_image_are_read_counted_and_split(tmp_path: Path) -> None:
    path = write(tmp_path, {"no": 40, "yes": 40})
    with path.open("a") as file:
        file.writelines(f"absent/{number}.png,{('no', 'yes')[number % 2]},a,CT,Lung,a\n" for number in range(250_000))
    began = time.process_time()
    catalog, source = read(path)
    assert time.process_time() - began < 25
    assert (catalog.subsets[0].num_train, catalog.subsets[0].num_test) == (60, 20)
    (note,) = [note for note in catalog.notes if not note.reason.startswith(UNGROUPED)]
    assert note.count == 250_000
    assert len(note.examples) == 20
    assert len(source.read_images(source.read_samples("a", Split.TEST))) == 20
    began = time.monotonic()
    assert read(path)[0] == catalog
    assert time.monotonic() - began < 5
