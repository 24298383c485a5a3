"""Export a study of 100,000 test questions to every format, with images and without; and its memory.

    python benchmarks/export.py [--questions 100000] [--side 224]

Images are phantoms of that many pixels a side, drawn as they are read.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.exchange.export import ExportChoice, write_export
from cg_lab.exchange.exported_study import Images
from cg_lab.exchange.formats import FORMATS, load_format
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout

SUBSETS = 64
FLOORS: dict[Images, float] = {"copy": 120.0, "reference": 10.0}


def plan_study(questions: int, side: int) -> Plan:
    """Plan a study that asks every subset of the embedded phantoms."""
    each = -(-questions // SUBSETS)
    study = read_study(
        [
            "targets=null",
            "seeds=[0]",
            "arms=[zero_shot,related]",
            f"data.test_per_subset={each}",
            f"data.image_size={side}",
        ]
    )
    catalog = read_catalog(study.data)
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_model(study.model))])


def count_cpu_s() -> float:
    """Count what this process and those that it had ended took of processors."""
    taken = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in taken)


def main() -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--only", choices=FORMATS, action="append")
    asked = parser.parse_args()
    plan = plan_study(asked.questions, asked.side)
    for name in asked.only or FORMATS:
        for images, floor in FLOORS.items():
            with tempfile.TemporaryDirectory() as folder:
                began, used = time.perf_counter(), count_cpu_s()
                out = Path(folder) / "out"
                choice = ExportChoice(images=images, form=None)
                study = write_export(Layout(Path(folder)), plan, load_format(name), out, choice)
                seconds, cpu = time.perf_counter() - began, count_cpu_s() - used
                size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
            count = sum(test.num_questions for test in study.tests)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            word = "within" if seconds <= floor else "OVER"
            print(
                f"{name:<11} {images:<9} {count:,} questions: {seconds:6.1f} s of a clock, {cpu:6.1f} s of CPU, {word} "
                f"{floor:.0f} s; {size / 1e6:,.0f} MB written, {peak:.2f} GB held at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
