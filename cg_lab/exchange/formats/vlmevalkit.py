"""VLMEvalKit: one TSV of multiple-choice questions, images in base64.

As its "Develop new Benchmark" and `ImageMCQDataset` of 0.2 have it: `index`, `question`, `A`, `B`, ..., `answer`,
`category` and `image`.
"""

from __future__ import annotations

import base64
import csv
from pathlib import Path

from cg_lab.exchange.exported_study import ExportedQuestion, ExportedStudy
from cg_lab.exchange.task_files import name_task
from cg_lab.questions import LETTERS
from cg_lab.serialize import replacing

TAKES_BOXES = False
FEWEST_OPTIONS = 4
README = """
## Run it

```bash
cp {task}.tsv ~/LMUData/
python run.py --data {task} --model MODEL
```

VLMEvalKit asks in words of its own and reads answers by its own rules, so that its accuracy need not be cg_lab's. `id` names a question.
"""


def write(study: ExportedStudy, folder: Path) -> str:
    """Write the TSV."""
    most = max(FEWEST_OPTIONS, *(_count_options(study)))
    columns = ["index", "id", "question", *LETTERS[:most], "answer", "category", *(["image"] * study.has_images)]
    with (
        replacing(folder / f"{name_task(study)}.tsv") as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, dialect="excel-tab", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_to_row(number, one) for number, one in enumerate(study.list_questions(boxes=False), 1))
    return README.format(task=name_task(study))


def _count_options(study: ExportedStudy) -> list[int]:
    """Count the options that questions of each test can have."""
    counts: list[int] = []
    for test in study.tests:
        protocol = test.jobs[0].protocol
        counts.append(len(protocol.candidates) if protocol.ask == "elements" else test.subset.num_options)
    return counts


def _to_row(number: int, one: ExportedQuestion) -> dict[str, object]:
    return {
        "index": number,
        "id": one.id,
        "question": one.question.text,
        **dict(zip(LETTERS, one.options, strict=False)),
        "answer": one.letter,
        "category": one.test,
        "image": base64.b64encode(one.image).decode() if one.image else "",
    }
