"""Reviews with a mood, and reasons in many wordings. No reason can be predicted from its review.

So a student learns how reasons are written, as from a big model, and not one text by heart.
"""

import random

from tests.support.seeded_rows import Row

LABELS = ("positive", "negative", "mixed")

THINGS = {
    "hotel": ("room", "breakfast", "staff", "view", "bed"),
    "phone": ("screen", "battery", "camera", "sound", "price"),
    "restaurant": ("soup", "service", "terrace", "dessert", "music"),
    "film": ("plot", "cast", "ending", "dialogue", "score"),
    "jacket": ("zip", "lining", "colour", "cut", "hood"),
}
PRAISE = ("excellent", "lovely", "better than expected", "a delight", "outstanding", "superb")
BLAME = ("awful", "a letdown", "worse than expected", "broken", "dreadful", "disappointing")
OPENINGS = (
    "We tried this {thing} last week.",
    "My second {thing} from them.",
    "Got the {thing} as a gift.",
    "A {thing} that friends told me about.",
    "Here is what I think of the {thing}.",
)
CLAUSES = ("The {part} was {word}.", "I found the {part} {word}.", "{word}, that {part}.")
# about one opinion, or about two that go together or against each other
REASONS = {
    "one": (
        "The writer calls the {part} {word}, and says nothing against it.",
        "All that is said is that the {part} is {word}.",
        "A {part} that is {word} decides it here.",
        "With the {part} described as {word}, the mood is clear.",
    ),
    "same": (
        "Both the {part} and the {part2} are judged alike: {word}, {word2}.",
        "The {part} is {word}, and the {part2} is {word2} as well.",
        "Nothing speaks for another mood: {part} {word}, {part2} {word2}.",
        "The writer says of the {part} that it is {word}, and of the {part2} that it is {word2}.",
    ),
    "against": (
        "The {part} is {word}, but the {part2} is {word2}.",
        "One thing speaks for it and one against: the {part} is {word}, the {part2} {word2}.",
        "Although the {part} is {word}, the writer finds the {part2} {word2}.",
        "The opinion is split between a {part} that is {word} and a {part2} that is {word2}.",
    ),
}


def review(rng: random.Random) -> Row:
    """One row; its label is one of LABELS."""
    thing = rng.choice(sorted(THINGS))
    part, part2 = rng.sample(THINGS[thing], 2)
    label = rng.choice(LABELS)
    first, second = {
        "positive": (PRAISE, PRAISE),
        "negative": (BLAME, BLAME),
        "mixed": rng.choice([(PRAISE, BLAME), (BLAME, PRAISE)]),
    }[label]
    word, word2 = rng.choice(first), rng.choice(second)
    kind = "against" if label == "mixed" else rng.choice(("one", "same"))
    clauses = [rng.choice(CLAUSES).format(part=part, word=word)]
    if kind != "one":
        clauses.append(rng.choice(CLAUSES).format(part=part2, word=word2))
    sentences = [rng.choice(OPENINGS).format(thing=thing), *clauses]
    text = " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
    reason = rng.choice(REASONS[kind])
    rationale = reason.format(part=part, word=word, part2=part2, word2=word2)
    return {"input": text, "label": label, "rationale": rationale}
