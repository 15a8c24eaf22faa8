"""Study of personal pictures: taste against likeness over alpha, by what was climbed and by what was not, and for others."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from utils.data import Dataset
from utils.generation.cvae import CVAE
from utils.generation.eye import Eye
from utils.generation.judge import seen
from utils.generation.jury import Jury
from utils.generation.personal import own_rows, personalise, taste
from utils.generation.stamps import Stamps

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_USERS, LEAST = 60, 8  # users of a seed, stamps that each of them took


def takers(dataset: Dataset, stamps: Stamps, least: int = LEAST) -> dict[int, np.ndarray]:
    """Users who took at least so many of the stamps: user -> numbers of these stamps, sorted."""
    place = {int(item): number for number, item in enumerate(stamps.item_ids)}
    taken: dict[int, set[int]] = {}
    for user, item in zip(dataset.interactions["user_id"], dataset.interactions["item_id"]):
        if int(item) in place:
            taken.setdefault(int(user), set()).add(place[int(item)])
    return {user: np.array(sorted(found)) for user, found in sorted(taken.items()) if len(found) >= least}


def personal_rows(dataset: Dataset, stamps: Stamps, cvae: CVAE, eye: Eye, jury: Jury, seed: int) -> list[dict]:
    """Draw one target for each of 60 users with half of their likes; judge with the frozen encoder and the other half.

    Columns: taste = what was climbed; own = the frozen encoder, same likes; unseen = the frozen encoder, likes kept back;
    others = the same for the likes kept back of all other users; gain = unseen - others, with a 95 % interval over users.
    """
    rng, liked = np.random.default_rng(seed), takers(dataset, stamps)
    users = rng.permutation(sorted(liked))[:N_USERS]
    rows = own_rows(stamps)
    vectors = torch.empty(len(stamps.pictures), jury.known_seen.shape[1])
    out = torch.as_tensor(stamps.held_out)[stamps.stamps]
    vectors[~out], vectors[out] = jury.known_seen, jury.held_out_seen
    vectors = vectors[rows]
    halves = [rng.permutation(liked[user]) for user in users]
    given, kept = [half[::2] for half in halves], [half[1::2] for half in halves]
    said = eye.project(vectors)
    climbed, own, unseen = (
        torch.stack([taste(half, space) for half in part])
        for part, space in ((given, said), (given, vectors), (kept, vectors))
    )
    at = rows[torch.as_tensor(rng.choice(np.flatnonzero(~stamps.held_out), len(users)))]
    target = stamps.pictures[at], stamps.hues[at], stamps.categories[at]
    found = []
    for alpha in ALPHAS:
        made = personalise(cvae, eye, climbed, *target, alpha)
        judged = F.normalize(seen(made.images) - vectors.mean(dim=0), dim=1)
        table, n = judged @ unseen.T, len(users)  # picture by user
        self_, others = table.diagonal(), (table.sum(dim=1) - table.diagonal()) / (n - 1)
        gain = self_ - others
        found.append({
            "part": "personal", "method": "cvae", "setting": f"alpha {alpha:g}", "seed": seed, "n": n, "alpha": alpha,
            "taste": made.taste.mean().item(), "likeness": made.likeness.mean().item(),
            "own": (judged * own).sum(dim=1).mean().item(), "unseen": self_.mean().item(), "others": others.mean().item(),
            "gain": gain.mean().item(), "gain_half_width": (1.96 * gain.std() / n**0.5).item(),
        })  # fmt: skip
    return found
