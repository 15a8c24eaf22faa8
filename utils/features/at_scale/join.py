"""Join the features of two modalities into one vector per item, paired by item id and never by position."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from utils.errors import CourseError, suggest
from utils.features.matrix import Features

WAYS = ("concat", "sum", "mean", "product")


def check_fusion(how: str) -> str:
    """Return the name, or raise with the nearest ones."""
    if how not in WAYS:
        raise suggest(how, WAYS, "fusion")
    return how


def join(features: Mapping[str, Features], how: str = "concat") -> Features:
    """Join the vectors of each item.

    Args:
        features: modality -> Features; the first one gives the order of the rows.
        how: ``concat`` (n, d_1 + d_2); ``sum``, ``mean`` and ``product`` need equal lengths.

    Returns:
        Features named ``visual_textual`` and so on; present where the item has all of them, for half a vector is not
        comparable to a whole one.

    Raises:
        CourseError: other ids on one side than on the other, unequal lengths, an unknown way, fewer than two.
    """
    check_fusion(how)
    if len(features) < 2:
        raise CourseError("Fusion joins two modalities or more; give them as {'visual': ..., 'textual': ...}.")
    first = next(iter(features.values()))
    for name, each in features.items():
        alien = sorted(set(each.item_names) ^ set(first.item_names))
        if alien:
            raise CourseError(
                f"The {name} features name other items than the {first.modality} ones, for example {str(alien[0])!r}; extract "
                "both from the same dataset."
            )
    sides = [each.align(first.item_names) for each in features.values()]
    dims = [side.dim for side in sides]
    if how != "concat" and len(set(dims)) > 1:
        raise CourseError(
            f"Fusion by {how} needs vectors of one length, and they have {' and '.join(map(str, dims))}; use concat."
        )
    mask = np.logical_and.reduce([side.mask for side in sides])
    matrices = [side.matrix for side in sides]
    if how == "concat":
        matrix = np.concatenate(matrices, axis=1)
    elif how == "product":
        matrix = np.multiply.reduce(matrices)
    else:
        matrix = np.add.reduce(matrices)
        matrix = matrix / np.float32(len(sides)) if how == "mean" else matrix
    about = {"fusion": how, "encoder": f"{how} of {' and '.join(features)}"}
    about["sides"] = {
        name: {k: v for k, v in f.provenance.items() if k != "content_rows"} for name, f in features.items()
    }
    return Features("_".join(features), matrix, first.item_names, mask, about)
