"""The arms of a held-out question: one table, from which all that is checked, said or drawn of an arm is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Literal

Model = Literal["untouched", "own", "merged", "main"]
"""Which model an arm asks: the untouched backbone, one trained for the arm, the untouched backbone with the merged
adapters of several trainings, or that of the question's main arm."""
Shows = Literal["anything", "nothing", "one", "combination", "source", "others", "target"]
"""What an arm's training subsets may show of the target: anything; no element of it; exactly one each; all of its
elements between them, where the question claims so; what the one subset shows that the arm's variant names; none of the
element that the arm's variant names; or the target and nothing else, by intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """All that the rest of the package knows about an arm."""

    words: str
    """What people call it, in a word or two; a variant is put behind."""
    meaning: str
    """What the scored model was trained on, or shown: a phrase that follows the name."""
    colour: str
    """In figures, as #rrggbb."""
    model: Model = "own"
    image: Literal["original", "blank"] = "original"
    """What the model is shown."""
    shows: Shows = "anything"
    num_seeds: int | None = None
    """How many of the study's seeds it is trained with unless `arm_seeds` says otherwise; None for all of them, as the
    arms do that carry a claim. An arm whose seeds hardly differ needs few."""
    is_budgeted: bool = False
    """Whether it trains on exactly as many samples as the question's other budgeted arms."""
    is_main: bool = False
    """Whether a held-out question is about its training; a question has one such arm."""
    is_reference: bool = False
    """Whether the main arm's gain over it is tested, tabulated and pooled."""
    is_headline: bool = False
    """Whether overviews have it: means over all held-out questions, samples that an arm needs, examples, tables with a
    row for each held-out question."""
    is_optional: bool = False
    """Whether it is planned only where `arms` names it."""
    asks_target: bool = True
    """Whether it is asked about the target, and not about the subsets that its model was trained on."""

    @property
    def has_own_model(self) -> bool:
        """Whether its model is trained or merged for it alone."""
        return self.model in {"own", "merged"}

    @property
    def carries_claim(self) -> bool:
        """Whether it is trained with all seeds, and at later looks with more of them."""
        return self.model == "main" or (self.has_own_model and self.num_seeds is None)

    @property
    def is_tabulated(self) -> bool:
        """Whether tables with a row for each held-out question have a column of its accuracy."""
        return self.is_headline or self.is_reference

    def __post_init__(self) -> None:
        """Refuse what nothing could plan, tell or draw, when the package loads."""
        is_paired = self.is_main or self.is_tabulated
        faults = (
            (not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour), f"colour {self.colour!r} is not of the form #rrggbb"),
            (not re.fullmatch(r"\w[\w -]*", self.words), "its words must be letters, digits, spaces and hyphens"),
            (not self.meaning.strip(), "it needs a meaning"),
            (self.num_seeds is not None and self.num_seeds < 1, f"it can't be trained with {self.num_seeds} seeds"),
            (not self.has_own_model and self.num_seeds is not None, "only a training of its own has a number of seeds"),
            (self.is_main and self.num_seeds is not None, "a main arm is trained with all seeds"),
            (
                not self.has_own_model and (self.is_budgeted or self.is_main or self.shows != "anything"),
                "only a training of its own has a budget, is what a question is about, and shows elements",
            ),
            (self.is_main and self.is_reference, "a main arm can't be the reference of its own gain"),
            (not self.asks_target and self.model != "main", "only the main arm's model is asked about its own subsets"),
            (
                not self.asks_target and is_paired,
                "gains and overviews are about the target, which it isn't asked about",
            ),
        )
        if found := [fault for holds, fault in faults if holds]:
            raise ValueError(f"arm '{self.words}': {'; '.join(found)}")


@unique
class Arm(StrEnum):
    """What the scored model was trained on, or what it was shown; in the order in which figures show them."""

    traits: Traits

    def __new__(cls, value: str, traits: Traits) -> Arm:
        """Make a member that is its name as text and knows its traits."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
            raise ValueError(f"arm '{value}': its name must be small letters, digits and underscores")
        member = str.__new__(cls, value)
        member._value_ = value
        member.traits = traits
        return member

    ZERO_SHOT = (
        "zero_shot",
        Traits(
            words="zero-shot",
            meaning="the untouched model",  # Med-MAT's Baseline
            colour="#7f7f7f",
            model="untouched",
            is_reference=True,
            is_headline=True,
        ),
    )
    ZERO_SHOT_BLIND = (
        "zero_shot_blind",
        Traits(
            words="zero-shot blind",
            meaning="the untouched model, shown a blank image",
            colour="#c9b2bf",
            model="untouched",
            image="blank",
            is_optional=True,
        ),
    )
    UNRELATED = (
        "unrelated",
        Traits(
            words="unrelated",
            meaning="trained on as many samples that share no element with the target",  # Med-MAT's Baseline+
            colour="#E69F00",
            shows="nothing",
            num_seeds=2,
            is_budgeted=True,
            is_reference=True,
            is_headline=True,
        ),
    )
    RELATED = (
        "related",
        Traits(
            words="related",
            meaning="trained on the subsets that should explain the target",  # Med-MAT's Trained
            colour="#0072B2",
            shows="combination",
            is_budgeted=True,
            is_main=True,
            is_headline=True,
        ),
    )
    ALONE = (
        "alone",
        Traits(
            words="alone",
            meaning="trained on as many samples of one of the related subsets alone",
            colour="#7FB2D6",
            shows="source",
            is_budgeted=True,
        ),
    )
    COMPOSED = (
        "composed",
        Traits(
            words="composed",
            meaning="the merged adapters of as many samples as related, trained on each of its subsets alone",
            colour="#332288",
            model="merged",
            shows="combination",
            is_budgeted=True,
            is_optional=True,
        ),
    )
    COMPOSED_ALONE = (
        "composed_alone",
        Traits(
            words="composed alone",
            meaning="the merged adapters of all arms alone, each trained on as many samples as related",
            colour="#6699CC",
            model="merged",
            shows="combination",
            is_optional=True,
        ),
    )
    COMPOSED_UNRELATED = (
        "composed_unrelated",
        Traits(
            words="composed unrelated",
            meaning="the merged adapters of as many subsets that share no element with the target",
            colour="#DDCC77",
            model="merged",
            shows="nothing",
            num_seeds=2,
            is_budgeted=True,
            is_optional=True,
        ),
    )
    MISMATCHED = (
        "mismatched",
        Traits(
            words="mismatched",
            meaning="trained on as many subsets of the target's task, none of which shows one of its elements",
            colour="#D55E00",
            shows="others",
            num_seeds=2,
            is_budgeted=True,
        ),
    )
    ALL_DATA = (
        "all_data",
        Traits(
            words="all data",
            meaning="trained on related and unrelated subsets together",
            colour="#56B4E9",
            is_budgeted=True,
        ),
    )
    ALL_RELATED = (
        "all_related",
        Traits(
            words="all related",
            meaning="trained on as many samples of all subsets that share an element with the target",
            colour="#44AA99",
            is_budgeted=True,
        ),
    )
    NEAREST_SUBSETS = (
        "nearest_subsets",
        Traits(
            words="nearest subsets",
            meaning="trained on as many samples of the subsets that share most elements with the target",
            colour="#882255",
            is_budgeted=True,
        ),
    )
    SINGLE = (
        "single",
        Traits(
            words="single",
            meaning="trained on as many samples of the one subset that was expected to help most by itself",
            colour="#999933",
            is_budgeted=True,
        ),
    )
    PARTIAL = (
        "partial",
        Traits(
            words="one element",
            meaning="trained on as many samples that share just one element with the target",  # CrossMed's Unrelated
            colour="#8a6d3b",
            shows="one",
            is_budgeted=True,
        ),
    )
    WITHOUT = (
        "without",
        Traits(
            words="without",
            meaning="trained as related, without the subsets that share the target's element of one factor",
            colour="#7a7ac7",
            shows="others",
            is_budgeted=True,
        ),
    )
    MULTI_TASK = (
        "multi_task",
        Traits(
            words="multi-task",
            meaning="trained on all in-distribution subsets together, the target's own data among them where it is one",
            colour="#0072B2",
            shows="combination",
            is_main=True,
            is_headline=True,
        ),
    )
    CEILING = (
        "ceiling",
        Traits(
            words="ceiling",
            meaning="trained on the target itself",  # Med-MAT's Single-task Training
            colour="#009E73",
            shows="target",
            num_seeds=1,
            is_headline=True,
        ),
    )
    SHUFFLED = (
        "shuffled",
        Traits(
            words="shuffled",
            meaning="trained as related, with labels dealt anew: what images without truth do",
            colour="#b8b8b8",
            num_seeds=1,
            is_budgeted=True,
        ),
    )
    BLIND = (
        "blind",
        Traits(
            words="blind",
            meaning="the related model, shown a blank image",
            colour="#CC79A7",
            model="main",
            image="blank",
            is_reference=True,
        ),
    )
    SOURCES = (
        "sources",
        Traits(
            words="its sources",
            meaning="the related model, asked about what it was trained on",
            colour="#4d4d4d",
            model="main",
            asks_target=False,
        ),
    )


if len({arm.traits.words for arm in Arm}) < len(Arm):
    raise ValueError("two arms have the same words")
_REUSING = [(arm.traits.model, arm.traits.image, arm.traits.asks_target) for arm in Arm if not arm.traits.has_own_model]
if len({*_REUSING}) < len(_REUSING) or ("main", "original", True) in _REUSING:
    raise ValueError("two arms ask one model the same")


MAIN_ARMS = tuple(arm for arm in Arm if arm.traits.is_main)
"""Arms whose training a held-out question asks about; a question has one of them."""
REFERENCES = tuple(arm for arm in Arm if arm.traits.is_reference)
"""Arms that the main arm is compared with."""
CONTROLS = tuple(arm for arm in REFERENCES if arm.traits.model != "main")
"""References that are models of their own; every arm's gains over these are told."""
