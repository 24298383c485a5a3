"""Images: preparing and reading them, planning over millions, and finding look-alikes.

    python benchmarks/data.py [prepare] [read] [look_alikes] [plan --release FOLDER]

Each is compared with the plainest way to do the same in the same run, in turns; medians of several rounds. `plan` needs
a release that benchmarks/release.py wrote; its first reading, which opens every image, is told apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cg_lab.data.facts import THUMBNAIL
from cg_lab.data.lookalikes import Gallery
from cg_lab.data.pictures import Folder
from cg_lab.models.backbone import LoadedBackbone, load_for_images
from cg_lab.models.batches import join_images
from cg_lab.models.identity import identify_backbone
from cg_lab.models.prepared import SHARD, Pool, PreparedImages
from cg_lab.models.stored import give_values
from cg_lab.study import ModelSettings

CORES = 2
SIDE = 336
BATCH = 32


@cache
def open_backbone(side: int) -> LoadedBackbone:
    """Give the embedded model's processor, with an image processor such as CLIP's of the given size."""
    from transformers import CLIPImageProcessor

    from cg_lab.config import read_study

    torch.set_num_threads(1)
    settings = read_study([]).model
    assert isinstance(settings, ModelSettings)
    backbone = load_for_images(identify_backbone(settings))
    if side != backbone.processor.image_processor.size["height"]:
        size = {"height": side, "width": side}
        backbone.processor.image_processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size=size)
        backbone.processor.patch_size = 14
    return backbone


def draw_films(folder: Path, first: int, last: int) -> None:
    """Write 512 x 512 JPEGs with the grain of films."""
    for number in range(first, last):
        generator = np.random.default_rng(number)
        coarse = Image.fromarray(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC), np.float32)
        grain = generator.standard_normal((512, 512, 1), np.float32) * 6
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)


def decode_and_resize(folder: Path, names: Sequence[str]) -> int:
    """Do only what can't be left out."""
    total = 0
    for name in names:
        with Image.open(folder / name) as image:
            total += image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).size[0]
    return total


@cache
def open_prepared(folder: Path, cache_folder: Path, count: int) -> tuple[PreparedImages, Pool]:
    """Open the images once in each process, as `data prepare` does."""
    pictures = Folder(folder)
    names = tuple(f"{number}.jpg" for number in range(count))
    pool = Pool(key="films", ids=names, read=lambda ids: [pictures.open(one).image for one in ids])
    return PreparedImages(open_backbone(SIDE), cache_folder, max_gb=100), pool


def prepare(folder: Path, cache_folder: Path, count: int, names: Sequence[str]) -> int:
    """Prepare one shard."""
    prepared, pool = open_prepared(folder, cache_folder, count)
    assert prepared.write(pool, tuple(names))
    return len(names)


def time_on_cores(pool: ProcessPoolExecutor, work: Callable[..., int], *given: object, names: Sequence[str]) -> float:
    """Time some work that is dealt to the cores in parts of a shard."""
    parts = [names[start : start + SHARD] for start in range(0, len(names), SHARD)]
    begun = time.perf_counter()
    for job in [pool.submit(work, *given, part) for part in parts]:
        job.result()
    return time.perf_counter() - begun


def measure_prepare(count: int, rounds: int) -> None:
    """Compare with Pillow alone."""
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        folder = Path(place) / "films"
        folder.mkdir()
        list(pool.map(draw_films, [folder] * CORES, [0, count // 2], [count // 2, count]))
        names = [f"{number}.jpg" for number in range(count)]
        time_on_cores(pool, prepare, folder, Path(place) / "warm", count, names=names[: 2 * CORES * SHARD])
        ours: list[float] = []
        peer: list[float] = []
        for turn in range(rounds):
            peer.append(time_on_cores(pool, decode_and_resize, folder, names=names))
            ours.append(time_on_cores(pool, prepare, folder, Path(place) / f"cache{turn}", count, names=names))
            for file in (Path(place) / f"cache{turn}").iterdir():
                file.unlink()
        ratio = statistics.median(first / second for first, second in zip(ours, peer, strict=True))
        print(
            f"prepare {count:,} JPEGs of 512 x 512 for {SIDE} pixels on {CORES} cores: {statistics.median(ours):.1f} s;"
            f" decoding and resizing with Pillow alone {statistics.median(peer):.1f} s: {ratio:.2f} x"
        )


def measure_read(rounds: int) -> None:
    """Read shards from the page cache into batches on one core, as bytes, and as the values that models are given.

    Compared with copying as many bytes, and as many floats, that lie in memory.
    """
    torch.set_num_threads(1)
    for side, count in ((48, 8192), (SIDE, 2048)):
        generator = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as place:
            images = [Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(64)]
            pool = Pool(
                key=str(side),
                ids=tuple(map(str, range(count))),
                read=lambda ids, images=images: [images[int(one) % 64] for one in ids],
            )
            PreparedImages(open_backbone(side), Path(place), 100).see(pool, pool.ids)
            size = sum(file.stat().st_size for file in Path(place).iterdir())
            seconds: dict[str, list[float]] = {name: [] for name in ("open", "bytes", "values", "copy")}
            plain = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
            for _ in range(rounds):
                prepared = PreparedImages(open_backbone(side), Path(place), 100)
                begun = time.perf_counter()
                seen = prepared.see(pool, pool.ids)
                seconds["open"].append(time.perf_counter() - begun)
                assert seen is not None
                parts = generator.permutation(count).reshape(-1, BATCH).tolist()
                for name in ("copy", "bytes", "values"):
                    begun = time.perf_counter()
                    for part in parts:
                        if name == "copy":
                            torch.cat([plain[row : row + 1] for row in part])
                            continue
                        batch = join_images([seen[row].image for row in part])
                        if name == "values":
                            give_values(batch)
                    seconds[name].append(time.perf_counter() - begun)
            median = {name: statistics.median(values) for name, values in seconds.items()}
            ratio = statistics.median(ours / copy for ours, copy in zip(seconds["bytes"], seconds["copy"], strict=True))
            print(
                f"read at {side} x {side}, one core: {count / median['bytes']:,.0f} samples/s and "
                f"{size / median['bytes'] / 1e9:.2f} GB/s into batches, {ratio:.1f} x the time of copying in memory; "
                f"{count / median['values']:,.0f} samples/s and {4 * size / median['values'] / 1e9:.2f} GB/s as values;"
                f" opening and verifying shards {size / median['open'] / 1e9:.2f} GB/s"
            )


def measure_look_alikes(count: int, rounds: int) -> None:
    """Search many images, a tenth of them stored twice; compare with looking at every pair of a twentieth of them."""
    generator = np.random.default_rng(0)
    thumbnails = np.empty((count, THUMBNAIL**2), np.uint8)
    hashes = np.empty(count, np.uint64)
    unique = count - count // 10
    for number in range(unique):
        # Films have much in common: an even border, and the same outline.
        coarse = generator.integers(0, 200, (8, 8), dtype=np.uint8)
        coarse[[0, -1]] = 0
        coarse[:, [0, -1]] = 0
        small = np.asarray(Image.fromarray(coarse).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
        fields = np.asarray(Image.fromarray(coarse).resize((9, 8), Image.Resampling.BOX), np.int16)
        thumbnails[number] = small.ravel()
        bits = np.packbits((np.diff(fields, axis=1) > 4).ravel()).tobytes()
        hashes[number] = int.from_bytes(bits, "big")
    copies = generator.integers(0, unique, count - unique)
    thumbnails[unique:], hashes[unique:] = thumbnails[copies], hashes[copies]
    gallery = Gallery(hashes, thumbnails, np.full(count, 0.2, np.float32))
    everything = np.arange(count)
    ours: list[float] = []
    peer: list[float] = []
    found = everything
    few = count // 20
    for _ in range(rounds):
        begun = time.perf_counter()
        found = gallery.match(everything, everything)
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for row in range(few):
            np.flatnonzero(np.bitwise_count(hashes[row] ^ hashes[:few]) <= 3)
        peer.append((time.perf_counter() - begun) * (count / few) ** 2)
    assert (found[unique:] >= 0).all()
    print(
        f"look-alikes among {count:,} images: {statistics.median(ours):.1f} s; every pair of hashes, from {few:,} "
        f"images, would take {statistics.median(peer):.0f} s: {statistics.median(peer) / statistics.median(ours):.0f} x"
    )


def measure_plan(release: Path, rounds: int) -> None:
    """Plan over a release: the first time, when every image is opened, and again; compare with reading its JSON."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "cg_lab", "plan", "data=med_mat", f"data.release={release}",
                   "targets=[ct-lung-cancer-04]", "seeds=[0]", f"results_dir={results}", "study=large"]  # fmt: skip
        first = time_process(command)
        again = [time_process(command) for _ in range(rounds)]
        begun = time.perf_counter()
        records = 0
        for file in sorted((release / "Aggregated_Subsets").glob("*.json")):
            records += len(json.loads(file.read_text(encoding="utf-8")))
        reading = time.perf_counter() - begun
        seconds, memory = statistics.median(one for one, _ in again), max(peak for _, peak in again)
        print(
            f"plan over {records:,} records: {seconds:.1f} s and {memory:.2f} GB at most; the first time, opening "
            f"every image, {first[0]:.0f} s and {first[1]:.2f} GB; reading the JSON alone takes {reading:.1f} s"
        )


WRAPPER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Asks for a process's memory from a small one: a fork begins with the memory of its parent."""


def time_process(command: list[str]) -> tuple[float, float]:
    """Give seconds and peak memory in GB of a process."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WRAPPER, *command], check=True, capture_output=True, text=True)
    return time.perf_counter() - begun, int(done.stdout) * 1024 / 1e9


def main() -> None:
    """Measure what is named, or all that needs nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["prepare", "read", "look_alikes"])
    parser.add_argument("--count", type=int, default=10_000, help="images to prepare")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--release", type=Path)
    given = parser.parse_args()
    if "prepare" in given.what:
        measure_prepare(given.count, given.rounds)
    if "read" in given.what:
        measure_read(max(5, given.rounds))
    if "look_alikes" in given.what:
        measure_look_alikes(100_000, given.rounds)
    if given.release is not None:
        measure_plan(given.release, given.rounds)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
