"""What an evaluation found: means, per-user values and lists, for all users, for cold items and for groups of users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from utils.data.split import Split
from utils.errors import CourseError, suggest


@dataclass(frozen=True, repr=False)
class Report:
    """What `evaluate` found.

    per_user: index user_id, one column per metric and cutoff ("recall@20"); NaN = not defined for this user.
    overall: metrics of all lists together ("gini@20", "coverage@20", "entropy@20").
    lists: (n_users, K) int64 item_ids, best first, -1 = no item left; row i belongs to user_ids[i].
    n_skipped: users without a relevant item (not ranked at all unless asked for by `users=`).
    """

    per_user: pd.DataFrame
    overall: dict[str, float]
    lists: np.ndarray
    user_ids: np.ndarray
    part: str = "test"
    top_k: tuple[int, ...] = (20,)
    mask: tuple[str, ...] = ("train",)
    n_competing: int = 0
    n_skipped: int = 0
    names: tuple[str, ...] = field(default=())

    def mean(self) -> pd.Series:
        """Return every metric as one number: means over the users it is defined for, then the overall ones."""
        values = pd.concat([self.per_user.mean(), pd.Series(self.overall, dtype=float)])
        return values.reindex(list(self.names)) if self.names else values

    def frame(self) -> pd.DataFrame:
        """Return the means as a table: one row per metric, one column per cutoff ("@20")."""
        values = self.mean()
        parts = [name.rsplit("@", 1) for name in values.index]
        table = pd.DataFrame(
            {"metric": [p[0] for p in parts], "cutoff": [p[1] for p in parts], "value": values.to_numpy()}
        )
        table = table.pivot(index="metric", columns="cutoff", values="value")
        order = list(dict.fromkeys(p[0] for p in parts))
        cutoffs = sorted(table.columns, key=int)
        return table.loc[order, cutoffs].rename(columns=lambda k: f"@{k}").rename_axis(columns=None)

    def __getitem__(self, name: str) -> float:
        """Return the mean of one metric: ``report["recall@20"]``."""
        values = self.mean()
        if name not in values.index:
            raise suggest(name, values.index, "metric in this report")
        return float(values[name])

    def protocol(self) -> str:
        """Say in one sentence how these numbers were made."""
        hidden = f"{' and '.join(self.mask)} items masked" if self.mask else "nothing masked"
        return (
            f"{self.part}: {len(self.user_ids):,} users ranked over {self.n_competing:,} items, {hidden}, "
            f"{self.n_skipped:,} users without relevant items left out of accuracy."
        )

    def __repr__(self) -> str:
        return f"{self.protocol()}\n{self.frame().to_string(float_format=_number)}"

    def _repr_html_(self) -> str:
        return f"{self.frame().to_html(float_format=_number)}<p>{self.protocol()}</p>"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


@dataclass(frozen=True, repr=False)
class ColdReport:
    """Cold items judged twice: `full` (all items compete) and `among` (only cold items compete)."""

    full: Report
    among: Report

    def frame(self) -> pd.DataFrame:
        """Return one row per ranking: the means, the items that compete and the users judged."""
        rows = {"full ranking": self.full, "among cold items": self.among}
        table = pd.DataFrame({name: report.mean() for name, report in rows.items()}).T
        table["competing items"] = [report.n_competing for report in rows.values()]
        table["users"] = [len(report.user_ids) for report in rows.values()]
        return table

    def __repr__(self) -> str:
        return self.frame().to_string(float_format=_number)

    def _repr_html_(self) -> str:
        return self.frame().to_html(float_format=_number)


def by_group(
    report: Report, groups: pd.Series | np.ndarray | Sequence, metrics: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the mean of each per-user metric in each group of users, with the number of users.

    Args:
        groups: label of each user: a Series with user_id as index, or an array whose position is the user_id.
        metrics: columns to keep, for example ["recall@20"]; all by default.
    """
    labels = groups if isinstance(groups, pd.Series) else pd.Series(groups)
    missing = ~pd.Index(report.user_ids).isin(labels.index)
    if missing.any():
        raise CourseError(f"User {report.user_ids[missing.argmax()]} has no group; give one label for every user_id.")
    columns = list(report.per_user.columns if metrics is None else metrics)
    for name in columns:
        if name not in report.per_user.columns:
            raise suggest(name, report.per_user.columns, "per-user metric in this report")
    grouped = report.per_user[columns].groupby(labels.loc[report.user_ids], observed=True)
    table = grouped.mean().rename_axis("group")
    table.insert(0, "users", grouped.size())
    return table


def profile_groups(split: Split, n_groups: int = 4) -> pd.Series:
    """Group the users by how many train items they have, in equally large groups as far as ties allow.

    Returns:
        Series, index user_id, ordered labels such as "1-4 items".
    """
    length = np.bincount(split.train[:, 0], minlength=split.n_users)
    edges = np.unique(np.quantile(length, np.linspace(0, 1, n_groups + 1)[1:], method="inverted_cdf"))
    group = np.searchsorted(edges, length)
    spans = [(length[group == g].min(), length[group == g].max()) for g in range(len(edges))]
    names = [
        f"{high} item" + ("s" if high > 1 else "") if low == high else f"{low}-{high} items" for low, high in spans
    ]
    return pd.Series(pd.Categorical.from_codes(group, names, ordered=True), name="profile").rename_axis("user_id")
