"""Hugging Face datasets: Parquet with images, options and answers, which `datasets.load_dataset(FOLDER)` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cg_lab.exchange.exported_study import ExportedQuestion, ExportedStudy
from cg_lab.exchange.study_tables import write_rows
from cg_lab.questions import BoxQuestion, Question

TAKES_BOXES = True
FILE = "questions.parquet"
AT_ONCE = 500
"""Questions of a row group, so that readers hold few images."""
README = """
## Open it

```python
from datasets import load_dataset

questions = load_dataset("FOLDER", "questions", split="test")
mixtures = load_dataset("FOLDER", "mixtures", split="train")  # and so are arms, samples, proofs and coverage
```

A row of questions has `id`, `test`, `question` (id of the sample), `subset`, `group`, `image`, `sha256`, `instruction`, `prompt`,
`options`, `answer` (place of the right option), `letter`, `target` (what is right, as it is asked for) and `boxes`
(left, top, right, bottom as shares of width and height; null where there are options).
"""


def write(study: ExportedStudy, folder: Path) -> str:
    """Write questions.parquet."""
    write_questions(study, folder / FILE, boxes=True)
    return README


def write_questions(study: ExportedStudy, path: Path, *, boxes: bool) -> None:
    """Write test questions as a table that `datasets` knows the images of."""
    from datasets import Features, Image, List, Value

    text = Value("string")
    features = Features(
        {
            "id": text, "test": text, "question": text, "subset": text, "group": text, "image": Image(),
            "sha256": text, "instruction": text, "prompt": text, "options": List(text), "answer": Value("int32"),
            "letter": text, "target": text, "boxes": List(List(Value("float64"))),
        }
    )  # fmt: skip
    rows = map(_to_row, study.list_questions(boxes=boxes))
    write_rows(path, rows, features.arrow_schema, AT_ONCE if study.has_images else 10 * AT_ONCE)


def _to_row(one: ExportedQuestion) -> dict[str, Any]:
    question = one.question
    return {
        "id": one.id,
        "test": one.test,
        "question": one.sample.id,
        "subset": one.sample.subset,
        "group": one.group or None,
        "image": {"bytes": one.image, "path": None} if one.image else None,
        "sha256": one.sha256 or None,
        "instruction": question.text,
        "prompt": one.prompt,
        "options": list(one.options),
        "answer": question.answer if isinstance(question, Question) else None,
        "letter": one.letter or None,
        "target": one.answer or None,
        "boxes": [list(box) for box in question.boxes] if isinstance(question, BoxQuestion) else None,
    }
