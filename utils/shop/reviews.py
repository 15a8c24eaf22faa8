"""Short reviews of the simulated shoppers, which follow from the planted taste and the item.

With the noise that real reviews have: most choices get none, some say nothing about the item, some speak of delivery,
some have typos, and now and then words and rating disagree.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARE_WITH_REVIEW = 0.3
SHARE_GENERIC, SHARE_OFF_TOPIC, SHARE_CONTRARY, SHARE_TYPO = 0.22, 0.10, 0.08, 0.25

_TOPIC_WORDS = {
    "animals": ["I collect animals", "another one for my zoo page", "we read about them at school"],
    "food": ["makes me hungry", "for my kitchen labels", "good on a recipe card"],
    "vehicles": ["my son loves anything with wheels", "for the travel diary", "the engine fan at home is happy"],
    "town": ["my little paper town grows", "I love places like this", "for the map we are drawing"],
    "plants": ["my garden book needed it", "for the herbarium", "I press flowers and stick these beside them"],
    "seasonal": ["just right for the holidays", "for the greeting cards", "we decorate early this year"],
    "clothes": ["for the paper doll", "goes with the wardrobe page", "dressing-up page complete"],
    "household": ["for the chore chart", "we label our boxes with it", "a thing one uses every day"],
    "space": ["for the ceiling of the kids' room", "we look at the stars a lot", "my planet poster is growing"],
    "": ["fits my collection", "for the scrapbook", "I look for things like this"],
}
_LOOKS_WORDS = {
    True: [
        "the way it is done is just my style",
        "this look again, yes please",
        "love how it is made",
        "same style as my others",
    ],
    False: ["not my style at all", "the way it is done puts me off", "I expected another look"],
}
_COLOUR_WORDS = {
    True: ["lovely {colour}", "that {colour}!", "the {colour} is exactly what I wanted", "{colour} is my colour"],
    False: ["too {colour} for me", "did not know it was so {colour}", "wish it were not {colour}"],
}
_SHAPE_WORDS = {
    True: ["the {shape} form fits the page", "nice and {shape}", "a {shape} one was what I needed"],
    False: ["too {shape} for my page", "so {shape} that it does not fit"],
}
_SOUND_WORDS = {
    True: [
        "the sound is great, so {sound}",
        "we press it again and again, {sound} and funny",
        "love its {sound} noise",
    ],
    False: ["that noise is too {sound}", "the sound gets on my nerves", "turn that {sound} noise off"],
}
_SOUND_ADJECTIVES = {
    "1": ["deep", "low"],
    "2": ["deep", "warm"],
    "3": ["dull", "warm"],
    "4": ["full", "clear"],
    "5": ["bright", "clear"],
    "6": ["high", "shrill"],
}
_OPENINGS = {
    True: [
        "The {title} is a joy",
        "Love this {title}",
        "{title}: just right",
        "Great {title}",
        "Very happy with the {title}",
    ],
    False: [
        "The {title} is a letdown",
        "Not my {title}",
        "{title}: no, thanks",
        "Expected more of this {title}",
        "Meh, the {title}",
    ],
}
_GENERIC = {
    True: [
        "Great!",
        "Nice.",
        "As expected.",
        "Would buy again",
        "my daughter loves it",
        "5 stars",
        "good quality, thanks",
        ":-)",
    ],
    False: ["Not for me.", "meh", "ok I guess", "disappointed", "Could be better", "looked different on the screen"],
}
_OFF_TOPIC = [
    "Arrived two days late.",
    "It was a present, have not seen it yet",
    "The envelope was torn but all is there",
    "Ordered the wrong one, my fault.",
    "quick delivery!!",
    "How do I get a refund?",
    "Third order this month",
]
_SHAPE_NAMES = {"tall": "tall", "wide": "wide", "full": "round and full", "open": "airy"}


def _typo(rng: np.random.Generator, text: str) -> str:
    """Swap, drop or double one letter inside a word."""
    inside = [k for k in range(1, len(text) - 1) if text[k - 1 : k + 2].isalpha()]
    if not inside:
        return text
    k = inside[rng.integers(len(inside))]
    return (
        text[:k] + text[k + 1] + text[k] + text[k + 2 :],
        text[:k] + text[k + 1 :],
        text[:k] + text[k] + text[k:],
    )[rng.integers(3)]


def _pick(rng: np.random.Generator, lines: list[str]) -> str:
    return lines[rng.integers(len(lines))]


def _reason(rng: np.random.Generator, taste: str, glad: bool, row: dict[str, str]) -> str:
    """One clause about the taste that spoke most for the item (or against it)."""
    if taste == "topic":
        words = _TOPIC_WORDS.get(row["topic"].split("/")[0], _TOPIC_WORDS[""])
        return _pick(rng, words) if glad else "it is not what I collect"
    sound = _pick(rng, _SOUND_ADJECTIVES.get(row["sound"][-1:], ["loud"]))
    words = {"looks": _LOOKS_WORDS, "colour": _COLOUR_WORDS, "shape": _SHAPE_WORDS, "sound": _SOUND_WORDS}[taste][glad]
    return _pick(rng, words).format(colour=row["colour"], shape=_SHAPE_NAMES[row["shape"]], sound=sound)


def _one(rng: np.random.Generator, rating: int, row: dict[str, str], reasons: dict[str, float]) -> str:
    """Write one review of an item (title, topic, colour, ...) from the strength of each taste for it."""
    chance = rng.random()
    glad = (rating >= 4 if rating != 3 else rng.random() < 0.5) != (rng.random() < SHARE_CONTRARY)
    if chance < SHARE_OFF_TOPIC:
        text = _pick(rng, _OFF_TOPIC)
    elif chance < SHARE_OFF_TOPIC + SHARE_GENERIC:
        text = _pick(rng, _GENERIC[glad])
    else:
        silent = {"sound"} if not row["sound"] else set()
        order = sorted((t for t in reasons if t not in silent), key=lambda t: (-reasons[t] if glad else reasons[t], t))
        clauses = [_reason(rng, taste, glad, row) for taste in order[: 1 + (rng.random() < 0.35)]]
        opening = _pick(rng, _OPENINGS[glad]).format(title=row["title"].lower() or "sticker")
        joint = _pick(rng, [", ", ". ", ": ", " - "])
        text = _pick(rng, [opening + joint + ", ".join(clauses), ", ".join(clauses), opening + joint + clauses[0]])
        text = text[:1].upper() + text[1:] + _pick(rng, [".", "!", "", " :)", "..."])
    return _typo(rng, text) if rng.random() < SHARE_TYPO else text


def write_reviews(
    rng: np.random.Generator,
    ratings: np.ndarray,
    items: pd.DataFrame,
    attributes: pd.DataFrame,
    reasons: dict[str, np.ndarray],
) -> list[str]:
    """Write a review or "" for each choice.

    Args:
        ratings: (n,) int 1 to 5.
        items, attributes: n rows, the chosen items.
        reasons: taste -> (n,) float, what each taste added to the utility of the choice.
    """
    # Who is delighted or angry writes more often than who is content.
    chance = SHARE_WITH_REVIEW * np.array([0, 1.5, 1.2, 0.7, 0.8, 1.15])[ratings]
    writes = rng.random(len(ratings)) < chance
    titles = items["title"].to_numpy()
    rows = attributes[["topic", "looks", "colour", "shape", "sound"]].to_dict("records")
    reviews = [""] * len(ratings)
    for k in np.flatnonzero(writes):
        row = rows[k] | {"title": titles[k]}
        reviews[k] = _one(rng, int(ratings[k]), row, {taste: float(part[k]) for taste, part in reasons.items()})
    return reviews
