"""Compare a notebook's fresh record with the stored one: how much of its tolerance each number uses up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Mapping[str, Any]]


def shares(fresh: Values, stored: Values) -> dict[str, float]:
    """Return name -> distance from the stored value as a share of its tolerance, for every value that is compared.

    1 is just allowed. A text that differs, a value that is absent, and any distance where none is allowed, are infinite;
    values without a tolerance (seconds, megabytes) are left out.
    """
    found = {}
    for name, entry in stored.items():
        value, tolerance = fresh.get(name, {}).get("value"), entry["tolerance"]
        if tolerance is None:
            continue
        if value == entry["value"]:
            found[name] = 0.0
        elif isinstance(entry["value"], str) or value is None or not tolerance:
            found[name] = math.inf
        else:
            found[name] = abs(value - entry["value"]) / tolerance
    return found


def outside(fresh: Values, stored: Values) -> list[str]:
    """Say in words which values are farther from the stored ones than their tolerance; nothing when all is well."""
    return [
        f"{name} is {fresh.get(name, {}).get('value')}, recorded {stored[name]['value']} within {stored[name]['tolerance']}"
        for name, share in shares(fresh, stored).items()
        if not share <= 1 + 1e-9  # NaN is outside, too; the slack is that of the division
    ]
