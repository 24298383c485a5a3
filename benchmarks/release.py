"""Write a release in the layout of Med-MAT, as large as the public one, of images that are drawn.

    python benchmarks/release.py FOLDER [--records 2360000] [--present 0.4]

All 37 files of the merged subsets, one record an image, labels that can be told by where a bright spot is; so many of
the images are there. docs/data.md tells what to do with it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cg_lab.config import read_study
from cg_lab.data.listed import Declarations
from cg_lab.data.listing import read_listing
from cg_lab.mat import Kind

SIDE = 48
"""Pixels of an image."""
SPOTS = [(row, column) for row in (1, 4) for column in (1, 4)]
"""Where the spot of each of four labels is, on a grid of 6 x 6."""
ANSWER = "Answer with the option's letter from the given choices directly."
PER_FOLDER = 5_000


def count_records(total: int, subsets: int) -> list[int]:
    """Share records out as unevenly as merged data sets are: the largest subset has a hundred times the smallest."""
    weights = np.geomspace(1, 100, subsets)
    counts = np.floor(weights / weights.sum() * total).astype(int)
    counts[-1] += total - counts.sum()
    return counts.tolist()


def write_subset(folder: Path, number: int, count: int, num_labels: int, share: float) -> int:
    """Write one file and those of its images that are present; gives their number."""
    generator = np.random.default_rng(number)
    labels = generator.integers(0, num_labels, count)
    is_present = generator.random(count) < share
    options = [f"finding {number}.{label + 1}" for label in range(num_labels)]
    text = "What does the image show?\n" + "\n".join(
        f"{letter}: {option}" for letter, option in zip("ABCD", options, strict=False)
    )
    path = folder / "Aggregated_Subsets" / f"Subset--{number:02d}-train.json"
    with path.open("w", encoding="utf-8") as file:
        for record in range(count):
            label = int(labels[record])
            image = f"set{number:02d}/{record // PER_FOLDER:04d}/{record:07d}.png"
            if record % PER_FOLDER == 0:
                (folder / "med-mat" / image).parent.mkdir(parents=True, exist_ok=True)
            fields = {
                "id": record, "caption": options[label], "image": image, "Question": "What does the image show?",
                "Answer": options[label], "Question-choice": f"{text}\n{ANSWER}", "Answer-choice": "ABCD"[label],
                "data-no": str(number),
            }  # fmt: skip
            file.write(("[" if record == 0 else ",\n") + json.dumps(fields))
            if is_present[record]:
                coarse = generator.integers(0, 160, (6, 6), dtype=np.uint8)
                coarse[SPOTS[label]] = 255
                drawn = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                drawn.save(folder / "med-mat" / image, compress_level=1)
        file.write("]\n")
    return int(is_present.sum())


def main() -> None:
    """Write the release on all cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=2_360_000)
    parser.add_argument("--present", type=float, default=0.4)
    given = parser.parse_args()
    begun = time.monotonic()
    factors = read_study(["data=med_mat"]).data.factors  # type: ignore[union-attr]
    listed = read_listing("package:med_mat", Declarations(factors=factors)).subsets
    subsets = [subset for subset in listed if subset.kind is Kind.CLASSIFICATION]
    (given.folder / "Aggregated_Subsets").mkdir(parents=True, exist_ok=True)
    counts = count_records(given.records, len(subsets))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [
            pool.submit(
                write_subset,
                given.folder,
                int(subset.name.rpartition("-")[2]),
                count,
                subset.num_options,
                given.present,
            )
            for subset, count in zip(subsets[::-1], counts[::-1], strict=True)
        ]
        present = sum(job.result() for job in jobs)
    print(
        f"{given.records:,} records in {len(subsets)} files, {present:,} images, {time.monotonic() - begun:.0f} s: "
        f"{given.folder}"
    )


if __name__ == "__main__":
    main()
