"""The same questions by loaded weights, by `transformers serve`, and by the exported tasks of inspect_ai and lmms-eval.

    python benchmarks/other_tools.py [--inspect PYTHON] [--lmms-eval PYTHON] [--questions 48]

A small study of the embedded model is trained; its untouched and its fine-tuned weights are then asked in all four
ways, the logs of both tools imported, and every answer is compared. PYTHON is that of an environment with the tool,
which is no dependency of this project. Ends with status 1 if any answer differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.results import Layout, read_plan

STUDY = (
    "targets=[us-breast-mass]", "arms=[zero_shot,related]", "seeds=[0]", "tracking=none", "evaluation.by=generation",
    "evaluation.untouched_by=generation", "rule.resamples=100",
)  # fmt: skip
SERVED = ("model=endpoint", "model.answer=text", "model.key_variable=null", "arms=[zero_shot]")
Written = dict[str, tuple[str, int | None, bool]]
"""By question: what was written, the option in it, and whether that is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Weights that are asked."""

    name: str
    arm: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where it all lies, and by which interpreters the tools run."""

    root: Path
    settings: tuple[str, ...]
    inspect: str
    lmms_eval: str

    @property
    def layout(self) -> Layout:
        """Of the results."""
        return Layout(self.root / "results")

    def run(self, *command: str, folder: Path | None = None, **variables: str) -> None:
        """Run a command; what it says is shown if it fails."""
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **variables}
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")

    def lab(self, verb: str, *arguments: str) -> None:
        """Run a verb of cg_lab."""
        self.run(sys.executable, "-m", "cg_lab", verb, *arguments, f"results_dir={self.layout.root}")

    def read(self, study: str, arm: str) -> Written:
        """Read what a study's evaluation of an arm has."""
        plan = read_plan(self.layout.plan(study))
        job = next(cell.eval_job for cell in plan.cells if cell.arm == arm)
        rows: list[dict[str, Any]] = pq.read_table(self.layout.predictions(job)).to_pylist()
        return {row["question"]: (row["written"][0], row["choice"], row["correct"]) for row in rows}


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[str]:
    """Let `transformers serve` have a model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", "--host", "127.0.0.1",
        "--port", str(port), "--device", "cpu", "--dtype", "float32", str(folder),
    ]  # fmt: skip
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        for _ in range(480):
            if server.poll() is not None:
                sys.exit(log.read_text(encoding="utf-8"))
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                    break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def ask_in_all_ways(bench: Bench, model: Model) -> dict[str, Written]:
    """Ask one model in each way; gives what was written by the way's name."""
    found = {"loaded weights": bench.read("loaded", model.arm)}
    with serving(model.folder, bench.root / "serve.log") as url:
        served = f"served_{model.arm}"
        bench.lab(
            "sweep", *bench.settings, *SERVED, f"study={served}", f"model.url={url}", f"model.served={model.folder}",
            f"model.name={model.arm}",
        )  # fmt: skip
        found["transformers serve"] = bench.read(served, "zero_shot")
        logs = bench.root / f"inspect_{model.arm}"
        bench.run(
            bench.inspect, "-m", "inspect_ai", "eval", "task.py", "--model", f"openai-api/local/{model.folder}",
            "-T", f"arm={model.arm}", "-T", "seed=0", "--log-dir", str(logs), "--display", "none",
            folder=bench.root / "inspect", LOCAL_BASE_URL=url, LOCAL_API_KEY="none",
        )  # fmt: skip
        bench.lab("import", *map(str, logs.glob("*.eval")), "--study", "by_inspect")
        found["inspect_ai"] = bench.read("by_inspect", model.arm)
        logs = bench.root / f"lmms_{model.arm}"
        bench.run(
            bench.lmms_eval, "-m", "lmms_eval", "--include_path", ".", "--tasks", "cg_lab_by_lmms_eval", "--model",
            "openai", "--model_args", f"model_version={model.folder},base_url={url},num_concurrent=4,timeout=120",
            "--batch_size", "1", "--log_samples", "--output_path", str(logs),
            folder=bench.root / "lmms_eval", OPENAI_API_KEY="none", HF_HOME=str(bench.root / "hf"), HF_HUB_OFFLINE="1",
        )  # fmt: skip
        samples = map(str, logs.rglob("*_samples_*.jsonl"))
        bench.lab("import", *samples, "--study", "by_lmms_eval", "--arm", model.arm, "--seed", "0")
        found["lmms-eval"] = bench.read("by_lmms_eval", model.arm)
    return found


def prepare(bench: Bench) -> tuple[Model, ...]:
    """Train and ask by cg_lab, and export the questions to both tools."""
    bench.lab("sweep", *bench.settings, "study=loaded")
    for study, tool, name in (("by_inspect", "inspect", "inspect"), ("by_lmms_eval", "lmms-eval", "lmms_eval")):
        bench.lab(
            "plan", *bench.settings, f"study={study}", "model=elsewhere", f"model.name={study}", "model.answer=text"
        )
        bench.lab("export", study, "--to", tool, "--out", str(bench.root / name), "--images", "copy")
    (tune,) = read_plan(bench.layout.plan("loaded")).finetunes
    return (
        Model(name="untouched", arm="zero_shot", folder=WEIGHTS),
        Model(name="fine-tuned", arm="related", folder=bench.layout.weights(tune.id).resolve()),
    )


def show(asked: Mapping[str, Mapping[str, Written]]) -> bool:
    """Print the table; tells whether all ways agree."""
    print(f"| asked by | {' | '.join(f'{name}: right | the same answers' for name in asked)} |")
    print(f"|---|{'---|' * (2 * len(asked))}")
    is_equal = True
    for way in next(iter(asked.values())):
        cells: list[str] = []
        for found in asked.values():
            first, other = found["loaded weights"], found[way]
            same = sum(first[one] == other.get(one) for one in first)
            is_equal &= same == len(first) == len(other)
            cells += [f"{sum(right for *_, right in other.values()) / len(other):.1%}", f"{same} of {len(first)}"]
            for one in [name for name in first if first[name] != other.get(name)][:3]:
                print(f"{way}, {one}: {other.get(one)} for {first[one]}", file=sys.stderr)
        print(f"| {way} | {' | '.join(cells)} |")
    return is_equal


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inspect", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--lmms-eval", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--questions", type=int, default=48)
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            root=Path(folder),
            settings=(*STUDY, f"data.test_per_subset={told.questions}"),
            inspect=told.inspect,
            lmms_eval=told.lmms_eval,
        )
        return 0 if show({model.name: ask_in_all_ways(bench, model) for model in prepare(bench)}) else 1


if __name__ == "__main__":
    sys.exit(main())
