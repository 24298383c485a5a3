"""What has to hold of a model's template, tokenizer and processor before anything is trained on them or asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from PIL import Image

from cg_lab.errors import UserError
from cg_lab.models.chat_prompts import (
    ChatFrame,
    count_lead,
    encode_answers,
    find_end,
    find_letters,
    process_prompts,
    read_frame,
)
from cg_lab.questions import AnswerForm, Question, format_question
from cg_lab.study import Backbone

NUM_LETTERS = 4
"""Options that any model must be able to name; of questions with more, their own number is asked for."""
PROBE = Question(text="What is shown?", options=("mass", "no mass", "cyst", "left lung"), answer=0)
SIDE = 336
"""Pixels of the image whose tokens are counted."""
LONG = 700
"""Words of a question that a tokenizer which cuts prompts would cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """How one question is asked and answered, as was shown at loading."""

    prompt: str
    """As the template writes it."""
    trained_on: tuple[str, ...]
    """The tokens of an answer."""
    num_lead: int
    """Of these, how many only lead to it."""
    end: str
    """The token that ends a turn, at which generation stops."""
    num_image_tokens: int
    """Tokens of the prompt that stand for the image, of a square of `SIDE` pixels."""


def prove_contract(processor: Any, model: Any, identity: Backbone, asked: Question = PROBE) -> Contract:
    """Show that labels are those of an answer, that a turn ends, that letters are tokens, that images stay whole.

    Parameters
    ----------
    processor
        As it was loaded.
    model
        Its configurations alone are read.
    identity
        Names it, and says what it answers with.
    asked
        A question to show it by.

    Raises
    ------
    UserError
        With what does not hold, and a way out.

    """
    tokenizer, name = processor.tokenizer, identity.name
    frame = read_frame(processor, name)
    end = find_end(frame, model, tokenizer, name)
    answers = encode_answers(tokenizer, frame, asked.options)
    for option, ids in zip(asked.options, answers, strict=True):
        written = tokenizer.decode(ids)
        if written.strip() != f"{frame.lead}{option}".strip() or end in ids:
            raise UserError(
                f"model.path: behind the chat template of '{name}' the answer '{option}' is read back as '{written}'; "
                "its tokenizer does not fit its template"
            )
    num_lead, answer = count_lead(tokenizer, frame), answers[asked.answer]
    if identity.answer is AnswerForm.LETTER:
        letters = find_letters(tokenizer, frame, max(NUM_LETTERS, len(asked.options)), name)
        num_lead, answer = len(letters.before), [*letters.before, letters.ids[asked.answer]]
    question = format_question(asked, identity.answer)
    return Contract(
        prompt=f"{frame.before}{question}{frame.between}",
        trained_on=tuple(tokenizer.decode([one]) for one in (*answer, end)),
        num_lead=num_lead,
        end=tokenizer.decode([end]),
        num_image_tokens=_count_image_tokens(processor, frame, name),
    )


def _count_image_tokens(processor: Any, frame: ChatFrame, name: str) -> int:
    """Count the tokens of an image, which must be the same beside a long question.

    Raises
    ------
    UserError
        If the processor can't read the image with its prompt, or cuts the prompt.

    """
    image = Image.new("RGB", (SIDE, SIDE))
    short, long = (f"{frame.before}{'word ' * count}{frame.between}" for count in (1, LONG))
    try:
        rows = [process_prompts(processor, [text], [[image]])["input_ids"][0] for text in (short, long)]
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"model.path: the processor of '{name}' can't read an image in the prompt of its chat template ({reason}); "
            "the two must be of one checkpoint"
        ) from None
    ids = processor.tokenizer.get_added_vocab().values()
    counts = [Counter(int(one) for one in row if int(one) in ids) for row in rows]
    if counts[0] != counts[1] or len(rows[1]) - len(rows[0]) < LONG // 2:
        raise UserError(
            f"model.path: the processor of '{name}' cuts long prompts ({len(rows[1])} tokens of a question of {LONG} "
            "words), and image tokens with them; take the truncation out of its tokenizer.json or processor_config.json"
        )
    return max(counts[0].values(), default=0)
