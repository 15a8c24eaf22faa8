"""A leaderboard that judges your own recommender by the rules of all others, and looks for leaks.

An entry is a function ``build(split, features, **settings)`` that returns a scorer: a model with ``score(user_ids)``, a
function of the same kind, or a matrix (n_users, n_items). It gets a split whose test part is empty. Settings are
chosen on the validation part; the chosen one meets the test part once.

Refused (no figure): wrong shape, NaN, no list, other scores when asked again or in another order, too many settings.
Flagged (a figure, but no place), by three stated rules:

1. *exchange*: a random split draws train, validation and test from one distribution, so a scorer that saw only the
   train part is as good on validation as on test, but for chance. Flagged when the difference per user, minus the baselines' own, is
   more than ``Z_LIMIT`` standard errors from zero (test seen, or validation learned).
2. *redraw*: the interactions are split at random again and the entry built anew. Pairs that were held out before must not be found more
   often than pairs that were not. Catches a leak of both parts alike.
3. *too good*: the lead over the best baseline exceeds that baseline's lead over popularity: more than all
   personalisation has brought so far. Not impossible, but first to be explained.

What no rule sees: a leak that is too small for the number of users (``detectable``), or one that reads the whole log
anew for every split and gains little by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from utils.data.split import Split
from utils.data.twins import random_twin
from utils.errors import CourseError
from utils.evaluation.protocol import evaluate
from utils.evaluation.ranking import Scorer, recommend
from utils.evaluation.statistics import compare, holm
from utils.models.base import ItemFeatures

Z_LIMIT = 4.0  # one honest entry in some sixteen thousand is flagged by chance
REDRAW_SEED = 20_000
POPULARITY = "mostpop"


@dataclass
class Entry:
    """One entry: its status ("listed", "flagged", "refused", "not tried yet"), its figures, and why."""

    name: str
    status: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    valid: float = np.nan
    test: float = np.nan
    test_users: pd.Series | None = None
    checks: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.status}."]
        if not np.isnan(self.test):
            lines.append(f"  validation {self.valid:.4f}, test {self.test:.4f}")
        lines += [f"  {key}: {value:.2f}" for key, value in self.checks.items()]
        return "\n".join([*lines, *(f"  - {reason}" for reason in (*self.reasons, *self.notes))])


class Board:
    """Baselines and entries on one split, all judged alike.

    Args:
        split: with its test part; the entries never get it.
        features: modality -> Features.
        baselines: name -> list of runs (one per seed), each with ``valid`` and ``test`` reports and ``scores``; must
            hold "mostpop".
        budget: how many settings an entry may try: as many as the baselines had.
        metric: name@cutoff that decides.
    """

    def __init__(
        self, split: Split, features: Mapping[str, ItemFeatures] | None, baselines: Mapping[str, Sequence[Any]],
        budget: int = 5, metric: str = "recall@20",
    ) -> None:  # fmt: skip
        if POPULARITY not in baselines:
            raise CourseError(f"The baselines must hold {POPULARITY}; without it nobody knows what a lead is worth.")
        self.split, self.features, self.budget, self.metric = split, features, budget, metric
        self.top_k = int(metric.partition("@")[2] or 20)
        self.users = {
            name: {part: _mean([getattr(run, part).per_user[metric] for run in runs]) for part in ("valid", "test")}
            for name, runs in baselines.items()
        }
        self.entries: dict[str, Entry] = {}
        self.best = max(self.users, key=lambda name: self.users[name]["valid"].mean())

    @property
    def ceiling(self) -> float:
        """The test figure above which an entry is too good to be listed without an explanation (rule 3)."""
        best, popular = (self.users[name]["test"].mean() for name in (self.best, POPULARITY))
        return float(best + max(best - popular, 0.0))

    def enter(self, name: str, build: Callable, settings: Sequence[Mapping] = ({},)) -> Entry:
        """Build, choose on validation, judge once on test, look for leaks; the entry is kept on the board.

        A name that is entered again counts as one more question to the test part.
        """
        key = name
        while key in self.entries:
            key += "'"
        try:
            entry = self._judge(key, build, [dict(one) for one in settings])
        except CourseError as error:
            entry = Entry(key, "refused", (str(error),))
        if entry.status != "not tried yet":
            self.entries[key] = entry
        return entry

    def _judge(self, name: str, build: Callable, settings: list[dict]) -> Entry:
        if not 1 <= len(settings) <= self.budget:
            raise CourseError(f"{len(settings)} settings: everybody may try 1 to {self.budget}.")
        hidden, tried = blind(self.split), []
        for one in settings:
            scores, notes = checked_scores(build, hidden, self.features, one, self.top_k)
            if scores is None:
                return Entry(name, "not tried yet", ("write the function, run its cell, then run this one again.",))
            report = evaluate(scores, self.split, "valid", self.top_k, [self._name])
            tried.append((report[self.metric], report, one, scores, notes))
        valid, report, chosen, scores, notes = max(tried, key=lambda t: t[0])
        test = evaluate(scores, self.split, "test", self.top_k, [self._name])
        honest = [name for name in self.users if name != POPULARITY] or list(self.users)
        base = [self.users[one] for one in honest]
        checks = {"exchange, standard errors": exchange(report.per_user[self.metric], test.per_user[self.metric], base)}
        if "random" in self.split.strategy:
            checks["redraw, standard errors"] = redraw(build, self.split, self.features, chosen, self.top_k)
        reasons = self._flags(checks, test[self.metric])
        users = test.per_user[self.metric]
        status = "flagged" if reasons else "listed"
        return Entry(name, status, reasons, notes, chosen, valid, test[self.metric], users, checks)

    @property
    def _name(self) -> str:
        return self.metric.partition("@")[0]

    def _flags(self, checks: Mapping[str, float], test: float) -> tuple[str, ...]:
        found, z = [], checks["exchange, standard errors"]
        if z > Z_LIMIT:
            found.append(
                "much better on test than on validation: it has seen the test part, or hides validation items."
            )
        if z < -Z_LIMIT:
            found.append("much better on validation than on test: it has learned the validation part.")
        if checks.get("redraw, standard errors", 0.0) > Z_LIMIT:
            found.append("after a new draw it still finds the pairs that were held out before: it knows them.")
        if test > self.ceiling:
            found.append(
                f"its lead over {self.best} is larger than {self.best}'s lead over popularity "
                f"(a figure above {self.ceiling:.4f}): explain it first."
            )
        return tuple(found)

    def table(self) -> pd.DataFrame:
        """Return baselines and entries, best on *validation* first: valid, test, lead, low, high, p_holm, status.

        The lead is over the best baseline on validation, user by user; p values are corrected by Holm for all entries
        that have met the test part, flagged ones too.
        """
        rows = {name: {"valid": u["valid"].mean(), "test": u["test"].mean(), "status": "baseline"} for name, u in self.users.items()}  # fmt: skip
        p = {}
        for name, entry in self.entries.items():
            rows[name] = {"valid": entry.valid, "test": entry.test, "status": entry.status}
            if entry.test_users is not None:
                versus = compare(entry.test_users, self.users[self.best]["test"], self.metric)
                rows[name] |= {"lead": versus["difference"], "low": versus["low"], "high": versus["high"]}
                p[name] = versus["t_p"]
        frame = pd.DataFrame(rows).T.reindex(columns=["valid", "test", "lead", "low", "high", "p_holm", "status"])
        frame["p_holm"] = holm(pd.Series(p, dtype=float)).reindex(frame.index) if p else np.nan
        numeric = frame.columns[:-1]
        frame[numeric] = frame[numeric].astype(float)
        return frame.sort_values("valid", ascending=False, kind="stable").rename_axis("model")


def blind(split: Split) -> Split:
    """Return the split as an entry gets it: read-only copies, and an empty test part."""
    parts = {name: np.array(getattr(split, name), dtype=np.int64) for name in ("train", "valid")}
    parts["test"] = np.zeros((0, 2), dtype=np.int64)
    for rows in parts.values():
        rows.setflags(write=False)
    return replace(split, **parts)


def checked_scores(
    build: Callable, split: Split, features: Mapping[str, ItemFeatures] | None, settings: Mapping, top_k: int = 20
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Build an entry and return its scores of all users (n_users, n_items), with notes; None for an untouched stub.

    Raises:
        CourseError: the entry cannot be judged; the sentence names the mistake.
    """
    users = np.arange(split.n_users)
    try:
        scorer = build(split, features, **settings)
        if scorer is None or scorer is ...:
            return None, ()
        scores = _ask(scorer, users)
        again, turned = _ask(scorer, users), _ask(scorer, users[::-1])
    except CourseError:
        raise
    except Exception as error:  # noqa: BLE001 - a reader's code may raise anything
        raise CourseError(f"the entry raised {type(error).__name__}: {error}") from error
    if scores is None:
        return None, ()
    if scores.shape != (split.n_users, split.n_items):
        raise CourseError(
            f"the scores have shape {scores.shape}; give one row per user and one column per item, "
            f"({split.n_users}, {split.n_items})."
        )
    if np.isnan(scores).any():
        user, item = np.argwhere(np.isnan(scores))[0]
        raise CourseError(f"the score of user {user} for item {item} is NaN; a division by zero is the usual reason.")
    if np.isposinf(scores).any():
        raise CourseError("a score is plus infinity; rank with finite numbers (minus infinity hides an item).")
    if again is None or again.shape != scores.shape or not np.allclose(scores, again, equal_nan=True):
        raise CourseError("asked twice, it gives other scores; draw random numbers once, in build, from a seed.")
    if turned.shape != scores.shape or not np.allclose(scores[::-1], turned, rtol=1e-4, atol=1e-5):
        raise CourseError("the scores of a user depend on who else is asked; use user_ids to pick the rows.")
    lists = recommend(scores, split, users, top_k)
    if (lists < 0).any():
        raise CourseError(f"user {int(np.argmax((lists < 0).any(axis=1)))} gets fewer than {top_k} items; score more.")
    return scores, _notes(scores, split, top_k)


def _notes(scores: np.ndarray, split: Split, top_k: int) -> tuple[str, ...]:
    notes = []
    if np.allclose(scores, scores[:1]):
        notes.append("note: everybody gets the same scores; that is a popularity list, not a personal one.")
    owned = split.matrix("train").toarray() > 0
    bare = recommend(scores, split, np.arange(split.n_users), top_k, mask=())
    share = np.take_along_axis(owned, np.maximum(bare, 0), axis=1)[bare >= 0].mean()
    if share > 0.2:
        notes.append(f"note: {share:.0%} of its first places are train items; they are masked and bring nothing.")
    return tuple(notes)


def exchange(valid: pd.Series, test: pd.Series, baselines: Sequence[Mapping[str, pd.Series]] = ()) -> float:
    """Return by how many standard errors an entry is better on test than on validation, compared user by user.

    Args:
        valid, test: metric of each user (index user_id); users in both count.
        baselines: mappings "valid", "test" of honest models; their mean difference per user is subtracted, which takes
            out users (and, in a split by time, parts) that are harder for everybody.
    """
    diff = test - valid
    if baselines:
        diff = diff - _mean([base["test"] - base["valid"] for base in baselines])
    diff = diff.dropna().to_numpy()
    if len(diff) < 2:
        raise CourseError("fewer than two users have a validation and a test item; nothing can be compared.")
    error = diff.std(ddof=1) / np.sqrt(len(diff))
    return float(diff.mean() / error) if error > 0 else float(np.sign(diff.mean()) * np.inf) if diff.mean() else 0.0


def redraw(
    build: Callable, split: Split, features: Mapping[str, ItemFeatures] | None, settings: Mapping | None = None,
    top_k: int = 20, seed: int = REDRAW_SEED,
) -> float:  # fmt: skip
    """Build the entry on a new random split; return by how many standard errors it prefers pairs that were held out before.

    The new test pairs are of two kinds: those that were in the old train part and those that were not. A scorer that
    knows only the new train part cannot tell them apart.
    """
    twin = random_twin(split, seed)
    scores, _ = checked_scores(build, blind(twin), features, settings or {}, top_k)
    if scores is None:
        raise CourseError("built on a new split, the entry returns nothing; do not depend on one split.")
    users, items = np.asarray(twin.test).T
    lists = recommend(scores, twin, np.arange(twin.n_users), top_k)
    hit = (lists[users] == items[:, None]).any(axis=1)
    old_train = np.asarray(split.train)
    new = np.isin(users * split.n_items + items, old_train[:, 0] * split.n_items + old_train[:, 1])
    if not 0 < new.sum() < len(new):
        return 0.0
    pooled = hit.mean() * (1 - hit.mean()) * (1 / new.sum() + 1 / (~new).sum())
    difference = hit[~new].mean() - hit[new].mean()
    return float(difference / np.sqrt(pooled)) if pooled > 0 else 0.0


def leaking(build: Callable, split: Split, share: float, parts: Sequence[str] = ("test",), seed: int = 0) -> Callable:
    """Return ``build`` with a leak made on purpose: a share of the pairs of ``parts`` is lifted to the top."""
    pairs = np.concatenate([np.asarray(getattr(split, name)) for name in parts])
    pairs = pairs[np.random.default_rng(seed).random(len(pairs)) < share]

    def cheat(given: Split, features: Mapping[str, ItemFeatures] | None = None, **settings: Any) -> np.ndarray:
        scores = _ask(build(given, features, **settings), np.arange(given.n_users)).copy()
        scores[pairs[:, 0], pairs[:, 1]] = scores[np.isfinite(scores)].max() + 1
        return scores

    return cheat


def _ask(scorer: Scorer, users: np.ndarray) -> np.ndarray | None:
    """Return the scores of some users, whatever kind of scorer it is."""
    if hasattr(scorer, "score"):
        found = scorer.score(users)
    elif callable(scorer):
        found = scorer(users)
    else:
        found = np.asarray(scorer)
        found = found[users] if found.ndim == 2 and len(found) == len(users) else found
    return None if found is None or found is ... else np.asarray(found, dtype=np.float32)


def _mean(series: Sequence[pd.Series]) -> pd.Series:
    return pd.concat(list(series), axis=1).mean(axis=1)
