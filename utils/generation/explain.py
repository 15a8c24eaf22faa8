"""A list explained in one sentence: an additive model of named attributes, the one that decided, and what removing it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from utils.data import Dataset
from utils.data.pictures import open_image
from utils.errors import CourseError
from utils.generation.recolour import dominant_hue

POPULARITY = "popularity"


def attributes_of(dataset: Dataset) -> dict[str, np.ndarray]:
    """What can be said about every item of a catalogue: attribute -> (n_items,) str, "" = not known.

    Raises:
        CourseError: a picture that cannot be read.
    """
    colours = []
    for path in dataset.image_paths():
        hue = None if path is None else dominant_hue(np.asarray(open_image(path)))
        colours.append("" if path is None else "several colours" if hue is None else hue[0])
    sounds = np.where(dataset.items["audio"].to_numpy(dtype=str) == "", "silent", "with a sound")
    return {"kind": dataset.items["category"].to_numpy(dtype=str), "colour": np.array(colours), "sound": sounds}


@dataclass(frozen=True, eq=False)
class Reason:
    """Why an item stands where it stands in a user's list.

    Attributes:
        item_id, rank: from 1, among the items that the user has not taken.
        attribute: with the largest part above what the average item has of it. value: of the item.
        parts: attribute -> that part. without: attribute -> rank when the attribute is left out.
    """

    item_id: int
    rank: int
    attribute: str
    value: str
    parts: dict[str, float]
    without: dict[str, int]

    @property
    def confirmed(self) -> bool:
        """Whether leaving out the named attribute costs the item more places than leaving out any other does."""
        others = [rank for name, rank in self.without.items() if name != self.attribute]
        return self.without[self.attribute] > max(others)


class AttributeModel:
    """score(u, i) = log p(i) + sum over attributes of log p(value of i | u) / p(value of i), a naive Bayes classifier.

    p(value | u) = (n_u(value) + m p(value)) / (n_u + m), counted among what u took; p(value) = share of the catalogue;
    p(i) = popularity, one added. An unknown value adds 0.

    Args:
        attributes: name -> (n_items,) str. user_ids, item_ids: (n,) what was taken. smoothing: m, in items.
    """

    def __init__(
        self, attributes: Mapping[str, np.ndarray], user_ids: np.ndarray, item_ids: np.ndarray, smoothing: float = 5.0
    ) -> None:
        self.attributes, self.smoothing = dict(attributes), smoothing
        lengths = {len(values) for values in self.attributes.values()}
        if len(lengths) != 1:
            raise CourseError(f"The attributes have {sorted(lengths)} items; give each a value for every item.")
        self.n_items = lengths.pop()
        self.taken = {int(user): np.unique(item_ids[user_ids == user]) for user in np.unique(user_ids)}
        self.count = np.bincount(item_ids, minlength=self.n_items)

    def parts(self, user: int) -> dict[str, np.ndarray]:
        """What each attribute adds to each item's score: attribute -> (n_items,).

        Raises:
            CourseError: a user who took nothing.
        """
        if user not in self.taken:
            raise CourseError(f"User {user} took nothing that the model learned from; there is nothing to explain by.")
        mine, found = self.taken[user], {POPULARITY: np.log((self.count + 1) / (self.count + 1).mean())}
        for name, values in self.attributes.items():
            known, code = np.unique(values, return_inverse=True)
            share = np.bincount(code) / self.n_items
            own = np.bincount(code[mine], minlength=len(known))
            lift = np.log((own + self.smoothing * share) / (len(mine) + self.smoothing) / share)
            found[name] = np.where(values == "", 0.0, lift[code])
        return found

    def ranks(self, user: int, without: str = "") -> np.ndarray:
        """Rank of each item from 1, taken items 0; equal scores stand in the order of the catalogue: (n_items,) int64."""
        parts = self.parts(user)
        score = np.sum([part for name, part in parts.items() if name != without], axis=0)
        free = np.setdiff1d(np.arange(self.n_items), self.taken[user])
        ranks = np.zeros(self.n_items, dtype=np.int64)
        ranks[free[np.argsort(-score[free].round(9), kind="stable")]] = np.arange(1, len(free) + 1)
        return ranks

    def reason(self, user: int, rank: int = 1) -> Reason:
        """Say what decided the item at a rank of the list.

        Raises:
            CourseError: the list is not that long.
        """
        ranks, parts = self.ranks(user), self.parts(user)
        if rank < 1 or rank > ranks.max():
            raise CourseError(f"Rank {rank} of a list of {ranks.max()}; give 1 to {ranks.max()}.")
        item, free = int(np.flatnonzero(ranks == rank)[0]), ranks > 0
        above = {name: float(part[item] - part[free].mean()) for name, part in parts.items()}
        name = max(above, key=above.get)
        value = str(self.count[item]) if name == POPULARITY else str(self.attributes[name][item])
        without = {other: int(self.ranks(user, other)[item]) for other in parts}
        return Reason(item, rank, name, value, above, without)

    def sentence(self, user: int, reason: Reason, title: str) -> str:
        """The reason in words, from a template: every number in it is a count of the data."""
        start = f"{title!r} is number {reason.rank} for you because"
        if reason.attribute == POPULARITY:
            return f"{start} many take it: {reason.value} shoppers did, half of the items have at most {np.median(self.count):.0f}."
        mine, values = self.taken[user], self.attributes[reason.attribute]
        own, share = int((values[mine] == reason.value).sum()), (values == reason.value).mean()
        return (
            f"{start} of its {reason.attribute} ({reason.value}): {own} of the {len(mine)} you took have it, "
            f"and {share:.0%} of the shop."
        )
