"""What is drawn and asked, on a few samples that can be counted on one's fingers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from PIL import Image

from cg_lab.data.asking import Exam, pose_shots, pose_test, read_blanks
from cg_lab.data.samples import Sample, Split, ask, ask_boxes, ask_elements, deal_labels, draw_mixture
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.work import ORIGINAL, Mixture, MixturePart, Protocol
from cg_lab.questions import BoxQuestion, Question

LABELS = ("cyst", "mass", "node", "scar", "stone")
BOX = (0.0, 0.0, 0.5, 1.0)


@dataclass(kw_only=True)
class Shelf:
    """A source that holds its samples in memory."""

    samples: tuple[Sample, ...] = ()
    tested: tuple[Sample, ...] = ()
    labels: tuple[str, ...] = LABELS
    instructions: tuple[str, ...] = ("What is it?",)
    seed: int = 0

    def read_samples(self, subset: str, split: Split) -> tuple[Sample, ...]:
        listed = {Split.TRAIN: self.samples, Split.TEST: self.tested}[split]
        return tuple(one for one in listed if one.subset == subset)

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Give images whose size and colour tell samples apart."""
        return [Image.new("RGB", (8 + len(one.label), 9), (len(one.id), 200, 3)) for one in samples]

    def read_labels(self, subset: str) -> tuple[str, ...]:
        return {"s": self.labels}[subset]

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        return {"s": self.instructions}[subset]


def make(label: str, count: int, subset: str = "s", **more: object) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=f"{subset}/{label}/{number}", subset=subset, label=label, group=None, **more)  # type: ignore[arg-type]
        for number in range(count)
    )


def draw(source: Shelf, count: int, seed: int = 0) -> tuple[Sample, ...]:
    return draw_mixture(source, Mixture(parts=(MixturePart(subset="s", count=count),), seed=seed))


def count_labels(samples: tuple[Sample, ...]) -> dict[str, int]:
    return dict(Counter(sample.label for sample in samples))


SUBSET = Subset(name="s", elements=(("CT",), ("Lung",), ("Cyst",)), num_options=2, num_train=0, num_test=1)
UNEVEN = Shelf(samples=(*make("scar", 20), *make("mass", 3), *make("cyst", 20)), tested=make("mass", 99))


def test_a_draw_is_even_over_labels_and_a_rare_label_gives_all_it_has() -> None:
    assert count_labels(draw(UNEVEN, 9)) == {"cyst": 3, "mass": 3, "scar": 3}
    assert count_labels(draw(UNEVEN, 8)) == {"cyst": 3, "mass": 3, "scar": 2}
    assert count_labels(draw(UNEVEN, 23)) == {"cyst": 10, "mass": 3, "scar": 10}
    assert count_labels(draw(Shelf(samples=(*make("cyst", 1), *make("mass", 4))), 3)) == {"cyst": 1, "mass": 2}
    assert count_labels(draw(UNEVEN, 43)) == {"cyst": 20, "mass": 3, "scar": 20}


def test_no_sample_is_drawn_twice_and_none_of_the_test_side() -> None:
    drawn = draw(UNEVEN, 43)
    assert len({sample.id for sample in drawn}) == 43
    assert set(drawn) == set(UNEVEN.samples)


def test_a_smaller_draw_is_the_beginning_of_a_larger_one_and_seeds_draw_apart() -> None:
    assert draw(UNEVEN, 12) == draw(UNEVEN, 12) == draw(UNEVEN, 20)[:12]
    assert {sample.id for sample in draw(UNEVEN, 12, seed=1)} != {sample.id for sample in draw(UNEVEN, 12)}


def test_a_draw_stays_the_same_from_one_version_to_the_next() -> None:
    drawn = [sample.id for sample in draw(UNEVEN, 6)]
    assert drawn == ["s/cyst/9", "s/mass/1", "s/scar/7", "s/cyst/18", "s/mass/0", "s/scar/2"]


def test_parts_of_a_mixture_are_drawn_each_from_its_own_subset_in_their_order() -> None:
    source = Shelf(samples=(*make("cyst", 5, "a"), *make("mass", 5, "b")))
    parts = (MixturePart(subset="b", count=2), MixturePart(subset="a", count=3))
    assert [one.subset for one in draw_mixture(source, Mixture(parts=parts, seed=0))] == ["b", "b", "a", "a", "a"]


def test_labels_are_dealt_anew_within_each_subset_and_by_the_seed() -> None:
    samples = tuple(sample for pair in zip(
        (*make("cyst", 10, "a"), *make("mass", 10, "a")), (*make("node", 10, "b"), *make("scar", 10, "b")), strict=True
    ) for sample in pair)  # fmt: skip
    mixture = Mixture(parts=(), seed=4, labels="shuffled")
    dealt = deal_labels(samples, mixture)
    assert [replace(one, label="") for one in dealt] == [replace(one, label="") for one in samples]
    for subset, labels in (("a", {"cyst": 10, "mass": 10}), ("b", {"node": 10, "scar": 10})):
        assert count_labels(tuple(one for one in dealt if one.subset == subset)) == labels
    assert deal_labels(samples, mixture) == dealt != samples
    assert deal_labels(samples, replace(mixture, seed=5)) != dealt
    assert deal_labels(samples, replace(mixture, labels="true")) == samples


@pytest.mark.parametrize("letter", range(9))
def test_the_right_option_stands_at_the_samples_letter_counted_on_over_the_options(letter: int) -> None:
    (sample,) = make("node", 1, letter=letter)
    question = ask(Shelf(), sample)
    assert question.answer == letter % 4
    assert question.options[question.answer] == "node"
    assert len(set(question.options)) == 4
    assert set(question.options) <= set(LABELS)


def test_a_question_has_an_option_for_each_label_where_these_are_few() -> None:
    (sample,) = make("mass", 1, letter=3)
    question = ask(Shelf(labels=("cyst", "mass")), sample)
    assert (question.options, question.answer) == (("cyst", "mass"), 1)


def test_without_a_letter_the_right_option_stands_anywhere_and_by_the_seed_and_the_sample_alone() -> None:
    samples = make("node", 60)
    places = Counter(ask(Shelf(), sample).answer for sample in samples)
    assert all(places[place] > 5 for place in range(4))
    asked = [ask(Shelf(), sample) for sample in samples]
    assert all(question.options[question.answer] == "node" for question in asked)
    assert [ask(Shelf(), sample) for sample in reversed(samples)] == asked[::-1]
    assert [ask(Shelf(seed=1), sample) for sample in samples] != asked


def test_every_instruction_is_used() -> None:
    source = Shelf(instructions=("What is it?", "What do you see?"))
    assert {ask(source, sample).text for sample in make("node", 20)} == {"What is it?", "What do you see?"}


def test_a_sources_own_question_is_asked_as_it_is_unless_its_label_was_dealt_to_another() -> None:
    own = Question(text="Is there a node?", options=("no", "yes"), answer=1)
    (sample,) = make("yes", 1, question=own)
    assert ask(Shelf(labels=("no", "yes")), sample) is own
    dealt = ask(Shelf(labels=("no", "yes")), replace(sample, label="no"))
    assert (dealt.text, dealt.options[dealt.answer]) == ("What is it?", "no")


def test_boxes_are_asked_for_by_the_label_in_one_of_the_instructions() -> None:
    source = Shelf(instructions=("Where is the {label}?", "Find each {label}."))
    samples = make("cyst", 20, boxes=(BOX,))
    asked = [ask_boxes(source, sample) for sample in samples]
    assert {question.text for question in asked} == {"Where is the cyst?", "Find each cyst."}
    assert all(question.boxes == (BOX,) for question in asked)
    assert [ask_boxes(source, sample) for sample in samples] == asked
    exam = pose_test(replace(source, tested=samples[:1]), {"s": replace(SUBSET, kind=Kind.DETECTION)}, "s", ORIGINAL)
    assert exam == Exam(samples=samples[:1], questions=(BoxQuestion(text=asked[0].text, boxes=(BOX,)),))


def test_examples_are_drawn_alike_each_time_and_all_of_a_label_are_enough() -> None:
    source = Shelf(samples=(*make("cyst", 2), *make("mass", 9)), labels=("cyst", "mass"))
    protocol = Protocol(image="original", shots=2)
    shots = [pose_shots(source, {"s": SUBSET}, "s", protocol) for _ in range(5)]
    assert shots[0] is not None
    assert Counter(one.options[one.answer] for one in shots[0].questions if isinstance(one, Question)) == {
        "cyst": 2,
        "mass": 2,
    }
    assert [shown.questions for shown in shots if shown] == [shots[0].questions] * 5
    with pytest.raises(UserError) as caught:
        pose_shots(replace(source, labels=("cyst", "node")), {"s": SUBSET}, "s", protocol)
    assert str(caught.value) == ("design.shots: 2 examples for each label; 'node' of subset 's' has 0 training samples")


def test_elements_are_asked_among_all_candidates_or_a_few_of_them() -> None:
    (sample,) = make("cyst", 1)
    candidates = ("CT Brain", "CT Lung", "MRI Brain", "MRI Lung", "US Lung")
    whole = ask_elements(Shelf(), sample, "MRI Lung", candidates, most=None)
    assert (whole.text, sorted(whole.options)) == ("What does the image show?", sorted(candidates))
    few = [ask_elements(Shelf(), one, "MRI Lung", candidates, most=3) for one in make("cyst", 60)]
    for question in (whole, *few):
        assert question.options[question.answer] == "MRI Lung"
    assert {len(question.options) for question in few} == {3}
    assert {option for question in few for option in question.options} == set(candidates)
    assert {question.answer for question in few} == {0, 1, 2}
    assert [ask_elements(Shelf(), one, "MRI Lung", candidates, most=3) for one in make("cyst", 60)] == few
    assert len(ask_elements(Shelf(), sample, "CT Lung", candidates[:2], most=4).options) == 2


def test_a_blank_image_is_as_large_as_the_real_one_and_shows_an_even_gray() -> None:
    source = Shelf()
    samples = (*make("cyst", 1), *make("stone", 2), *make("cyst", 11)[-1:])
    blanks = read_blanks(source, samples)
    assert [blank.size for blank in blanks] == [(12, 9), (13, 9), (13, 9), (12, 9)]
    assert {(blank.mode, blank.getextrema()) for blank in blanks} == {("L", (127, 127))}
    assert blanks[0] is blanks[3]
