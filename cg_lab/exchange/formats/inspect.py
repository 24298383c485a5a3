"""inspect_ai: JSON lines, images beside them, and a task that `inspect eval` runs.

As "Datasets", "Tasks" and "Scorers" of 0.3.285 have it. cg_lab asks in its own words and reads what is written, so
that `multiple_choice`, which has a template of its own, is not used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cg_lab.exchange.exported_study import ExportedQuestion, ExportedStudy
from cg_lab.exchange.task_files import MOST_TOKENS, name_task, write_task_files
from cg_lab.serialize import write_lines

TAKES_BOXES = False
IMAGES_A_FOLDER = 1_000
README = """
## Run it

```bash
inspect eval task.py@{task} --model PROVIDER/NAME
python -m cg_lab import logs/*.eval --study {study} --arm zero_shot
```

`-T test=NAME` asks one test. `-T arm=ARM -T seed=N` say in the log which model was asked, and `import` needs no option then. The task
asks at temperature 0 for {most} tokens; `--max-tokens` lets a model that thinks write more.
"""


def write(study: ExportedStudy, folder: Path) -> str:
    """Write questions.jsonl, images and task.py."""
    questions = study.list_questions(boxes=False)
    rows = (_write_sample(number, one, folder) for number, one in enumerate(questions))
    write_lines(folder / "questions.jsonl", (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    write_task_files(study, folder, "inspect_task.py.txt", "task.py")
    return README.format(task=name_task(study), study=study.name, most=MOST_TOKENS)


def _write_sample(number: int, one: ExportedQuestion, folder: Path) -> dict[str, Any]:
    image = f"images/{number // IMAGES_A_FOLDER:03}/{number:06}.png"
    if one.image is not None:
        path = folder / image
        if number % IMAGES_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(one.image)
    content = [{"type": "image", "image": image}, {"type": "text", "text": one.prompt}]
    return {
        "id": one.id,
        "input": [{"role": "user", "content": content}],
        "choices": list(one.options),
        "target": one.letter,
        "metadata": {
            "test": one.test,
            "question": one.sample.id,
            "subset": one.sample.subset,
            "group": one.group or one.id,
            "options": list(one.options),
            "sha256": one.sha256,
        },
    }
