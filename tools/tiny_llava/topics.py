"""What is asked about a scene: topics with their values, wordings and option phrases."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from cg_lab.questions import Question
from tools.tiny_llava.lexicon import read_words

MAX_OPTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing that can be asked about a scene."""

    values: tuple[str, ...]
    """Every value; synonyms of one value are joined by `/`."""
    wordings: tuple[str, ...]
    """Ways to ask; `{}` stands for the object that is asked about."""
    phrases: tuple[str, ...] = ("{}",)
    """Ways to write an option; all options of one question share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One true statement about a scene."""

    topic: str
    value: str
    about: str = ""
    """Fills the `{}` of the topic's wordings."""


_SHAPE_VALUES = ("circle", "oval", "square", "triangle", "star", "cross", "bar")
_SHAPE_PHRASES = ("{}", "a {}", "one {}")
_SIDE_PHRASES = ("{}", "on the {}", "{} side", "{} half")

TOPICS: dict[str, Topic] = {
    "shape": Topic(
        values=_SHAPE_VALUES,
        wordings=(
            "Which shape is shown?",
            "What is shown?",
            "What shape is it?",
            "Name the shape.",
            "What does this image show?",
        ),
        phrases=_SHAPE_PHRASES,
    ),
    "shape_or_none": Topic(
        values=(*_SHAPE_VALUES, "none/nothing/no shape"),
        wordings=(
            "Which shape is shown, if any?",
            "What is in the picture?",
            "Which object is seen?",
            "What can be seen here?",
        ),
    ),
    "outline": Topic(
        values=("smooth/even", "wavy/curved", "spiky/jagged"),
        wordings=(
            "How is the outline?",
            "What kind of border is it?",
            "Which outline does the shape have?",
            "How is the edge formed?",
        ),
        phrases=("{}", "{} outline", "{} border", "a {} edge"),
    ),
    "size": Topic(
        values=("tiny", "small/little", "medium", "large/big"),
        wordings=("How large is the shape?", "Which size is it?", "How big is the object?", "Choose the size."),
        phrases=("{}", "{} size", "a {} one"),
    ),
    "side": Topic(
        values=("left", "right"),
        wordings=("On which side is it?", "Where is the shape?", "Which half is the object in?", "Left or right?"),
        phrases=_SIDE_PHRASES,
    ),
    "side_or_none": Topic(
        values=("left", "right", "none/nowhere/neither"),
        wordings=("On which side is a shape, if any?", "Where is something to be seen?", "Which side has an object?"),
    ),
    "height": Topic(
        values=("top/upper", "bottom/lower"),
        wordings=(
            "At which height is it?",
            "Where is the shape?",
            "Which half is the object in?",
            "Above or below the middle?",
        ),
        phrases=("{}", "{} half", "{} part"),
    ),
    "corner": Topic(
        values=("upper left", "upper right", "lower left", "lower right", "center"),
        wordings=("Where is the shape?", "Which corner is it in?", "Which part of the picture is it in?"),
    ),
    "tone": Topic(
        values=("bright/light", "dark"),
        wordings=(
            "Is it brighter or darker than around?",
            "Is the shape bright or dark?",
            "Which tone does the object have?",
        ),
        phrases=("{}", "{} shape", "a {} object"),
    ),
    "strength": Topic(
        values=("faint/weak", "clear/strong"),
        wordings=("How strong is the contrast?", "How clear is the shape?", "How well does it stand out?"),
        phrases=("{}", "{} contrast"),
    ),
    "hollow": Topic(
        values=("filled/solid", "hollow/open"),
        wordings=("Is it filled or hollow?", "Is the shape solid?", "What is inside the outline?"),
        phrases=("{}", "{} shape"),
    ),
    "wall": Topic(
        values=("thin/narrow", "thick/wide"),
        wordings=("How thick is the ring?", "How wide is the line of the outline?"),
        phrases=("{}", "a {} line"),
    ),
    "edge": Topic(
        values=("sharp/clear", "soft/blurred"),
        wordings=("Is the edge sharp or soft?", "How sharp is the border?"),
        phrases=("{}", "{} edge", "{} border"),
    ),
    "fill": Topic(
        values=("plain/even", "striped/lines", "dotted/dots", "checkered/checks"),
        wordings=("How is the shape filled?", "Which pattern is inside the shape?", "Which texture does it have?"),
        phrases=("{}", "{} pattern"),
    ),
    "lie": Topic(
        values=("horizontal/flat", "vertical/upright", "diagonal/tilted"),
        wordings=("How does the bar lie?", "Which direction does it have?", "How do the lines run?"),
    ),
    "colour": Topic(
        values=("red", "green", "blue", "yellow", "purple", "orange", "white", "black"),
        wordings=("Which color is it?", "What color is the shape?", "Name the color."),
        phrases=("{}", "{} shape"),
    ),
    "count": Topic(
        values=("zero/none/0", "one/1/single", "two/2", "three/3", "four/4", "five/5", "six/6"),
        wordings=("How many shapes are there?", "How many objects?", "Count the shapes.", "What number is seen?"),
    ),
    "amount": Topic(
        values=("none", "few/some", "many/several"),
        wordings=("Are there few or many shapes?", "How many are there about?"),
    ),
    "more": Topic(
        values=("left", "right"),
        wordings=("Which side has more shapes?", "Where are most of the objects?"),
        phrases=_SIDE_PHRASES,
    ),
    "any": Topic(
        values=("yes/present/shape/visible", "no/absent/nothing/empty"),
        wordings=("Is there a shape?", "Is an object present?", "Can anything be seen?", "Is something there?"),
    ),
    "has": Topic(
        values=("yes/present", "no/absent"), wordings=("Is there a {}?", "Is a {} present?", "Does it show a {}?")
    ),
    "place": Topic(
        values=("left", "right", "top", "bottom"),
        wordings=("Where is the {}?", "Find the {}.", "On which side is the {}?"),
    ),
    "at": Topic(
        values=_SHAPE_VALUES,
        wordings=("Which shape is on the {}?", "What is seen on the {}?", "Name the {} shape."),
        phrases=_SHAPE_PHRASES,
    ),
    "which": Topic(
        values=_SHAPE_VALUES,
        wordings=("Which shape is {}?", "Name the {} object.", "What is {}?"),
        phrases=_SHAPE_PHRASES,
    ),
    "same": Topic(
        values=("same/equal/alike", "different/unequal/unlike"),
        wordings=("Are both shapes the same?", "Compare the two shapes.", "Same or different?"),
    ),
    "halves": Topic(
        values=("symmetric/even/equal", "uneven/unequal/different"),
        wordings=("Are the two halves alike?", "Is the picture symmetric?", "Compare left and right."),
    ),
    "odd_side": Topic(
        values=("left", "right", "none/neither"),
        wordings=("Which half has something more?", "On which side is the additional shape?"),
        phrases=("{}", "{} side"),
    ),
    "ground": Topic(
        values=("plain/even", "striped/lines", "dotted/dots", "checkered/checks"),
        wordings=("Which pattern is the background?", "What texture is shown?", "How is the ground?"),
        phrases=("{}", "{} pattern"),
    ),
    "pitch": Topic(
        values=("fine/narrow", "coarse/wide"), wordings=("Is the pattern fine or coarse?", "How wide are the lines?")
    ),
    "light": Topic(
        values=("left", "right", "top", "bottom"),
        wordings=("Which side is brighter?", "Where does the light come from?", "Where is it brightest?"),
    ),
    "mood": Topic(
        values=("bright/light", "medium/middle", "dark"),
        wordings=("How bright is the picture?", "Is the image bright or dark?"),
        phrases=("{}", "{} picture"),
    ),
    "noise": Topic(
        values=("clean/clear", "grainy/slightly noisy", "noisy/very noisy"),
        wordings=("How noisy is the picture?", "Is there noise?", "How grainy is it?"),
    ),
    "blur": Topic(
        values=("sharp/clear", "blurred/soft"), wordings=("Is the picture sharp?", "How sharp is the image?")
    ),
}

_READINGS = (
    "Which option says {}?",
    "Which one is {}?",
    "Choose {}.",
    "Pick {}.",
    "Select the option {}.",
    "{}?",
    "Find the word {}.",
    "Where does it say {}?",
)


def ask_fact(fact: Fact, random: Random) -> Question:
    """Put one fact as a single-choice question with 2 to 4 options in random order."""
    topic = TOPICS[fact.topic]
    right_value = next(value for value in topic.values if value.split("/")[0] == fact.value.split("/")[0])
    wrong = [value for value in topic.values if value != right_value]
    num_options = random.randint(2, min(MAX_OPTIONS, len(topic.values)))
    phrase = random.choice(topic.phrases)
    synonyms = random.random() < 0.5
    options: list[str] = []
    for value in [right_value, *random.sample(wrong, num_options - 1)]:
        words = value.split("/")
        options.append(phrase.format(random.choice(words) if synonyms else words[0]))
    right = options[0]
    random.shuffle(options)
    text = random.choice(topic.wordings).format(fact.about)
    return Question(text=text, options=tuple(options), answer=options.index(right))


def ask_reading(random: Random, words: tuple[str, ...]) -> Question:
    """Ask for an option by its own text: the right answer is read, not seen.

    Half of the options are one word, others two words or a made-up word that the tokenizer must spell.
    """
    num_options = random.randint(2, MAX_OPTIONS)
    kind = random.random()
    options: list[str] = []
    while len(options) < num_options:
        if kind < 0.65:
            option = random.choice(words)
        elif kind < 0.85:
            option = f"{random.choice(words)} {random.choice(words)}"
        else:
            option = "".join(
                random.choice("bdfgklmnprstvz") + random.choice("aeiou") for _ in range(random.randint(2, 3))
            )
        if option not in options:
            options.append(option)
    answer = random.randrange(num_options)
    return Question(text=random.choice(_READINGS).format(options[answer]), options=tuple(options), answer=answer)


def list_words() -> tuple[str, ...]:
    """List every word that gets a token of its own: the lexicon and all words of questions and options."""
    texts = [text for topic in TOPICS.values() for text in (*topic.wordings, *topic.phrases)]
    texts += [synonym for topic in TOPICS.values() for value in topic.values for synonym in value.split("/")]
    texts += list(_READINGS)
    words = {word.strip(".,?!:") for text in texts for word in text.replace("{}", " ").split()}
    return tuple(sorted((words - {""}) | set(read_words())))
