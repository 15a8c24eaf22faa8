"""A catalogue of drawn stamps for the tests of generators: discs and bars of one hue each, written as pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from PIL import Image

from utils.data import load_dataset
from utils.generation.stamps import COLOURS, Stamps, hold_out

INK = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 60, 220)}


def draw(kind: str, n: int, colour: tuple[int, int, int], size: int = 40) -> np.ndarray:
    """A disc or a bar of that colour on white; the n-th is a little larger or longer than the one before."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    inside = x**2 + y**2 < (7 + n % 12) ** 2 if kind == "discs" else (abs(y) < 4) & (abs(x) < 5 + n % 15)
    return np.where(inside[..., None], np.uint8(colour), np.uint8(255))


def write_catalogue(folder, n_each: int = 16):
    """A course folder with n discs and n bars, and one grey picture that has no hue."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in ("discs", "bars"):
        for n in range(n_each):
            image = f"{kind}{n}.png"
            Image.fromarray(draw(kind, n, list(INK.values())[n % 3])).save(folder / image)
            rows.append((f"{kind}{n}", f"{kind} {n}", f"{kind}/all", image))
    Image.fromarray(draw("discs", 3, (128, 128, 128))).save(folder / "grey.png")
    rows.append(("grey", "grey", "discs/all", "grey.png"))
    pd.DataFrame(rows, columns=["item", "title", "category", "image"]).to_csv(
        folder / "items.tsv", sep="\t", index=False
    )
    users = [(f"u{user}", row[0]) for user in range(12) for row in rows[user::7]]
    pd.DataFrame(users, columns=["user", "item"]).to_csv(folder / "interactions.tsv", sep="\t", index=False)
    return load_dataset(folder)


def flat_stamps(n_stamps: int = 24, size: int = 8, seed: int = 0) -> Stamps:
    """Stamps as tensors without files: two categories, random patterns tinted by the colour's number."""
    generator, k = torch.Generator().manual_seed(seed), len(COLOURS)
    patterns = torch.rand((n_stamps, 1, size, size), generator=generator).round()
    tint = torch.randn((k, 3, 1, 1), generator=generator).clamp(-1, 1)
    pictures = 1 - patterns[:, None] * (1 - tint)
    categories = np.arange(n_stamps) % 2
    return Stamps(
        pictures.flatten(0, 1).float(),
        torch.arange(k).repeat(n_stamps),
        torch.as_tensor(categories).repeat_interleave(k),
        torch.arange(n_stamps).repeat_interleave(k),
        ("bars", "discs"),
        np.arange(n_stamps),
        [f"stamp {n}" for n in range(n_stamps)],
        np.arange(n_stamps) % k,
        hold_out(categories, 0.25, 0),
    )
