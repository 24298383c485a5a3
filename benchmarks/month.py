"""What looks at a results folder of a month: `studies` and `gc --dry-run`, each as a whole process.

    python benchmarks/month.py [--studies 1000] [--jobs 100000] [--keep FOLDER]

The studies are copies of one plan of about a hundred jobs whose ids differ; their jobs left small made-up files, a
fine-tune weights beside, and one in a hundred is named by no plan. Nothing is trained.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.results import Layout, open_results

TARGETS = "[ct-brain-side,us-breast-mass,mri-kidney-bleed]"
COLUMNS = ("contrast", "arm", "accuracy", "verdict", *(f"number_{count}" for count in range(80)))
ROUNDS = 5


def main() -> None:
    """Make the folder and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="make the folder here, and leave it; one that is there is measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = given.keep or Path(folder)
        if not (root / "studies").exists():
            make_month(root, given.studies, given.jobs)
        for words in (["studies"], ["gc", "--dry-run"]):
            print(f"{' '.join(words):<16} {time_process(root, words):6.2f} s, the shortest of {ROUNDS}", flush=True)


def make_month(root: Path, num_studies: int, num_jobs: int) -> None:
    """Write studies and jobs."""
    layout = open_results(root)
    study = read_study([f"targets={TARGETS}", "seeds=[0,1,2]", "study=month"])
    plan = build_plan(
        [Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_model(study.model))]
    )
    text, ids = plan.text, [job.id for job in (*plan.finetunes, *plan.evals)]
    made: list[str] = []
    for number in range(num_studies):
        own = [f"{number:08x}{place:08x}" for place in range(len(ids))]
        other = text.replace('"month"', f'"month_{number}"')
        for before, after in zip(ids, own, strict=True):
            other = other.replace(before, after)
        folder = layout.study(f"month_{number}")
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text(other, encoding="utf-8")
        rows = [f"{part.id},related,0.5,transfers," + ",".join(["0.123456"] * 80) for part in plan.contrasts]
        (folder / "effects.csv").write_text("\n".join([",".join(COLUMNS), *rows * 5]) + "\n", encoding="utf-8")
        made += own
    for job_id in made[:num_jobs]:
        write_job(layout, job_id)
    for stray in range(num_jobs - len(made) if num_jobs > len(made) else num_jobs // 100):
        write_job(layout, f"f{stray:015x}")
    print(f"{num_studies:,} studies of {len(ids)} jobs, {len(list(layout.jobs.iterdir())):,} jobs", flush=True)


def write_job(layout: Layout, job_id: str) -> None:
    """Leave what a finished job leaves; every third one weights too."""
    folder = layout.job(job_id)
    folder.mkdir(parents=True)
    for name in ("result.json", "journal.jsonl", "predictions.parquet"):
        (folder / name).write_bytes(b"{}")
    if int(job_id, 16) % 3 == 0:
        layout.weights(job_id).mkdir()
        (layout.weights(job_id) / "model.safetensors").write_bytes(b"0")


def time_process(root: Path, words: list[str]) -> float:
    """Give the shortest wall clock of some processes: what else runs on the machine only adds."""
    command = [sys.executable, "-m", "cg_lab", *words, f"results_dir={root}"]
    seconds: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
