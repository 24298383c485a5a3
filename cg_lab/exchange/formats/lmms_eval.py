"""lmms-eval: a table of questions with images, and a task of YAML and Python.

As `docs/task_guide.md` of 0.7.3 has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cg_lab.exchange.exported_study import ExportedStudy
from cg_lab.exchange.formats import hf
from cg_lab.exchange.task_files import MOST_TOKENS, name_task, write_task_files

TAKES_BOXES = False
FUNCTIONS = ("doc_to_visual", "doc_to_text", "doc_to_messages", "doc_to_target", "process_results")
README = """
## Run it

In this folder:

```bash
python -m lmms_eval --include_path . --tasks {task} --model MODEL --model_args ARGUMENTS --batch_size 1 --log_samples --output_path logs
python -m cg_lab import logs/*/*_samples_{task}.jsonl --study {study} --arm zero_shot
```
"""


def write(study: ExportedStudy, folder: Path) -> str:
    """Write questions.parquet, the task's YAML and utils.py."""
    import yaml

    hf.write_questions(study, folder / hf.FILE, boxes=False)
    write_task_files(study, folder, "lmms_utils.py.txt", "utils.py")
    task: dict[str, Any] = {
        "task": name_task(study),
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": hf.FILE}},
        "test_split": "test",
        "output_type": "generate_until",
        "generation_kwargs": {"max_new_tokens": MOST_TOKENS, "temperature": 0, "do_sample": False},
        "metric_list": [
            {"metric": "accuracy", "aggregation": "mean", "higher_is_better": True},
            {"metric": "answered", "aggregation": "FUNCTION utils.count_answered", "higher_is_better": True},
        ],
        "metadata": [{"version": 1}],
    }
    task |= {name: f"FUNCTION utils.{name}" for name in FUNCTIONS}
    text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True).replace("FUNCTION ", "!function ")
    (folder / f"{name_task(study)}.yaml").write_text(text, encoding="utf-8")
    return README.format(task=name_task(study), study=study.name)
