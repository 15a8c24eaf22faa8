"""The card of the Sticker Shop (README.md), with tables made from result files.

``python -m utils.lab card probe`` measures how well each encoder predicts each taste and writes the JSON;
``python -m utils.lab card write`` makes the card from the folder and from the JSON files in ``data/results/``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.load import load_dataset
from utils.data.planted import truth
from utils.files import ROOT, write_text
from utils.shop.content import LANGUAGES, LONGEST_SIDE, PACKAGE, SAMPLE_RATE, VERSION
from utils.stored import RESULTS, ResultFile, markdown_rows, meta

SHOP = ROOT / "data" / "sticker_shop"
PROBE, LADDER = RESULTS / "sticker_shop_probe.json", RESULTS / "sticker_shop_ladder.json"
SOUND = RESULTS / "sticker_shop_sound.json"
TASTES = ("topic", "looks", "colour", "shape", "sound")
ENCODERS = (
    ("visual", "efficientnet_lite0"),
    ("visual", "colour_histogram"),
    ("visual", "pixels"),
    ("textual", "minilm"),
    ("textual", "tfidf_svd"),
    ("audio", "musicnn"),
    ("audio", "logmel_stats"),
)
AT_LEAST = 5  # items that share a label, else the label takes no part in the probe


def probe(out: Path, command: list[str]) -> dict[str, Any]:
    """Linear probe of each taste from each encoder: accuracy on held-out items, beside the majority rate.

    The majority is that of the items that the encoder sees (audio: the sounding ones), so it differs by modality.
    """
    from utils.features import extract
    from utils.features.probe import frequent, linear_probe, majority

    start = time.perf_counter()
    dataset = load_dataset("sticker_shop")
    hidden = truth(dataset).attributes
    rows = []
    for modality, encoder in ENCODERS:
        features = extract(dataset, modality, encoder)
        for taste in TASTES:
            labels = np.where(features.mask, hidden[taste].to_numpy(dtype=str), "")
            labels = frequent(labels, AT_LEAST)
            accuracy = linear_probe(features, labels)
            row = {"modality": modality, "encoder": encoder, "taste": taste, "accuracy": round(accuracy, 4)}
            rows.append(row | {"majority": round(majority(labels), 4), "items": int((labels != "").sum())})
    about = meta() | {"command": " ".join(["python -m utils.lab card", *command])}
    with ResultFile(out).update() as content:
        content |= {"meta": about | {"seconds": round(time.perf_counter() - start, 1)}, "rows": rows}
    return content


def probe_table(result: dict[str, Any]) -> str:
    """Encoders x tastes as Markdown: accuracy (majority rate)."""
    rows = pd.DataFrame(result["rows"])
    rows["cell"] = [f"{a:.2f} ({m:.2f})" for a, m in zip(rows["accuracy"], rows["majority"])]
    wide = rows.pivot(index=["modality", "encoder"], columns="taste", values="cell")
    wide = wide.reindex(pd.MultiIndex.from_tuples(ENCODERS))[list(TASTES)]
    wide.insert(0, "encoder", [f"`{encoder}`" for _, encoder in wide.index])
    wide.insert(0, "modality", [modality for modality, _ in wide.index])
    return markdown_rows(wide.columns, wide.to_numpy(), wide=True)


def ladder_table(result: dict[str, Any]) -> str:
    """Rows of the ladder as Markdown: mean over the draws and standard deviation."""
    means = result["summary"]["means"]
    order = sorted(means, key=lambda name: means[name]["recall@20"][0])

    def cell(pair: list[float]) -> str:
        return f"{pair[0]:.3f} ± {pair[1]:.3f}"

    rows = [[name, *(cell(means[name][metric]) for metric in ("recall@20", "ndcg@20"))] for name in order]
    return markdown_rows(["row", "Recall@20", "nDCG@20"], rows, wide=True)


def difference_table(differences: list[dict[str, Any]]) -> str:
    """Paired differences of Recall@20 as Markdown, with their interval and the draws that agree in sign."""
    rows = [
        [
            f"{d['left']} - {d['right']}",
            f"{d['mean']:+.4f}",
            f"{d['low']:+.4f} to {d['high']:+.4f}",
            f"{sum(x > 0 for x in d['by_draw'])} of {len(d['by_draw'])}",
        ]
        for d in differences
    ]
    return markdown_rows(["difference", "mean", "95 % interval over users", "draws above 0"], rows, wide=True)


def cold_table(result: dict[str, Any]) -> str:
    """Cold items as Markdown: mean Recall@20 over the draws."""
    frame = pd.DataFrame([{"row": r, **v} for by in result["cold"].values() for r, v in by.items()])
    mean = frame.groupby("row", sort=False)[["full", "among"]].mean()
    rows = [[name, f"{full:.3f}", f"{among:.3f}"] for name, (full, among) in zip(mean.index, mean.to_numpy())]
    return markdown_rows(["row", "all items compete", "among cold items"], rows, wide=True)


def facts_table() -> str:
    """Counts of the shipped folder as Markdown."""
    from utils.studies.ladder import log_facts

    dataset, raw = load_dataset("sticker_shop"), load_dataset("sticker_shop", "raw")
    facts = log_facts(dataset)
    reviews = (dataset.interactions["review"] != "").mean()
    size = sum(path.stat().st_size for path in SHOP.rglob("*") if path.is_file() and path.name != "README.md") / 1e6
    rows = [
        ("shoppers", f"{facts['users']:,}"),
        ("items", f"{facts['items']:,} ({raw.n_items:,} in the raw table)"),
        ("interactions", f"{facts['interactions']:,} ({raw.n_interactions:,} in the raw table)"),
        ("density", f"{facts['density']:.1%}"),
        ("interactions of a shopper", f"5 to {facts['longest_profile']}, median {facts['median_profile']:.0f}"),
        ("share of the most taken fifth of the items", f"{facts['share_of_top_fifth']:.0%}"),
        ("Gini coefficient of the items' counts", f"{facts['gini']:.2f}"),
        ("items with a sound", f"{(dataset.items['audio'] != '').sum()}"),
        ("categories", f"{dataset.items['category'].nunique()}"),
        ("interactions with a review", f"{reviews:.0%}"),
        ("folder", f"{size:.1f} MB"),
    ]
    return markdown_rows(["what", "how many"], rows, wide=True)


_CARD = """The shoppers of the Sticker Shop are simulated: pictures, words and sounds are real, every interaction, rating and review is drawn from planted tastes.

# The Sticker Shop

A small shop of real things, so that every notebook runs offline. Nobody keeps an open log of people choosing stickers,
hence the simulated shoppers. Never report a number from this dataset as a finding about people.

## Source and licence
- Content: the stamps of the Debian package `{package}` {version} (Tux Paint): photographs and drawings, a line of
  description in many languages, and for some a sound effect.
- Licence: GPL-2 or later, with credits and a list of what was changed, in [LICENSE](LICENSE). The course's code and text
  are separate works under their own licence.

## Counts
{facts}

## Files
- `items.tsv`: item, title (from the file name), description (English), description_{languages}, category
  (`top/sub`, from the package's folders), image, audio ("" = no sound).
- `interactions.tsv.gz`: user, item, rating (1 to 5), timestamp (seconds since 1970), review ("" = none). Sorted by time,
  without a split.
- `images/`: JPEG on white, longest side at most {side} pixels. `sounds/`: OGG Vorbis, mono, {rate:,} Hz, at most 5 s.
- `features/`: float16 matrices of the default encoders, one row for each item of the raw table (`items.txt` names them),
  with masks and provenance. Texts without HTML.
- `raw/`: the tables before cleaning: rows twice, earlier ratings, items under two ids, pictures that do not decode,
  silent sounds (as in the package), HTML in texts, items without text, users and items below the 5-core.
  `clean(load_dataset("sticker_shop", "raw"), k_user=5, k_item=5)` gives the clean tables.
- `truth/`: the planted tastes, for oracles. No model and no encoder reads it; a test looks.

## How it was made
`python -m utils.lab shop build --deb PACKAGE.deb --weights mobilenet_v2-b0353104.pth data/sticker_shop`
(same package, same library versions: same bytes). Left out: letters, digits, flags, road signs, coins and other symbols,
stamps that exist as SVG only, mirror images, and drawings that repeat another one with the same text.

A shopper's utility of an item is a weighted sum of parts, each standardised, plus Gumbel(1) noise at each choice. The
shipped draw is seed 0; it was not chosen by its result.

| part | weight | where it comes from |
| --- | --- | --- |
{parts}

Shoppers have a few sharp likes each ({likes}), of which one topic and one look are replaced in the course of the two
years. {types}. Items have release dates and are chosen more often while new. Ratings follow the utility about half;
reviews name the part that spoke most for (or against) the item, with generic and off-topic texts, typos, and some that
contradict their rating.

## How well each encoder predicts each taste
Accuracy of a linear probe on held-out items, and in brackets the rate of the most frequent label among the same items.
`looks` are clusters of MobileNetV2 features after removing what category and words predict, `sound` is known for the
sounding items only. From `{probe}`.

{probe_table}

## How hard it is
Recall@20 and nDCG@20 in full ranking, random split per shopper, mean and standard deviation over {n_draws} draws of the
simulator (of which the shipped one is the first), every model tuned on the validation part with {budget} settings. The
oracle ranks by the utilities before the choice noise. From `{ladder}`.

{ladder_table}

Paired differences of Recall@20:

{difference_table}

An interval that holds 0 is a null result; the intervals are not corrected for their number. The multimodal model chosen
on validation is the late fusion of two neighbourhoods, {best}; what the trained multimodal models gain over ItemKNN is in
the table, too. Over all items the audio features gain nothing that can be measured: one item in five sounds. Where only the sounding items count as right (all items compete; settings of the full model for
all rows; from `{sound}`):

{sound_table}

Read the has-sound rows before you claim anything about audio: what a model gains over "without audio" and not over
"has-sound" is the knowledge that an item sounds, not how. ItemKNN's content is centred, so that there the indicator is
the same as no audio.

Cold items (no training interaction; Recall@20; content kNN with its default settings):

{cold_table}

## Known limits
- Tastes are independent of each other, shoppers act alone, and nothing is shown to them: no exposure, position or
  feedback effects, no prices, no demographics.
- Reviews are made from few sentence patterns: use them to see the mechanics, not to measure models of language.
- {n_items} items: a list of 20 covers a good part of the catalogue, and one test item more or less per shopper shows.
- Of the sounding items {animals} are animals: "has a sound" nearly tells the category. The sound taste has mean zero over the
  sounding items, and a has-sound indicator is the control wherever audio is claimed.
- Dominant colour, shape and sound are measured by simple rules and sometimes disagree with the eye and the ear.
- Some translations are missing in the package; titles come from file names and are not always good English.
"""


def card() -> str:
    """Text of the card, from the folder and from the result files."""
    from utils.shop.simulate import N_LIKES, USER_TYPES, WEIGHTS

    where = {
        "topic": "category (small categories of a top folder are one topic)",
        "looks": "12 clusters of MobileNetV2 features, category and words regressed out",
        "sound": "6 clusters of simple measures of the spectrum, among the sounding items",
        "colour": "dominant colour of the opaque pixels",
        "shape": "outline: tall, wide, full, open",
        "popularity": "an exponential variable of each item",
        "collaborative": "12 drawn groups of items that no content shows",
        "novelty": "after the release: 4 x this on the first day, divided by e every 45 days",
    }
    probed = json.loads(PROBE.read_text(encoding="utf-8"))
    ladder = json.loads(LADDER.read_text(encoding="utf-8"))
    sound = json.loads(SOUND.read_text(encoding="utf-8"))
    types = ", ".join(f"{share:.0%} {name}" for name, (share, _) in USER_TYPES.items())
    dataset = load_dataset("sticker_shop")
    sounding = dataset.items.loc[dataset.items["audio"] != "", "category"]
    return _CARD.format(
        best=ladder["summary"]["best_multimodal"],
        n_items=dataset.n_items,
        animals=f"{sounding.str.startswith('animals').mean():.0%}",
        package=PACKAGE,
        version=VERSION,
        facts=facts_table(),
        languages="/".join(LANGUAGES),
        side=LONGEST_SIDE,
        rate=SAMPLE_RATE,
        parts="\n".join(f"| {name} | {weight} | {where[name]} |" for name, weight in WEIGHTS.items()),
        likes=", ".join(f"{n} of {taste}" for taste, n in N_LIKES.items()),
        types=f"Kinds of shoppers: {types}; the latter two weigh colour or shape more and topic and looks less",
        probe=PROBE.relative_to(ROOT).as_posix(),
        probe_table=probe_table(probed),
        n_draws=len(ladder["facts"]),
        budget=ladder["meta"]["budget"],
        ladder=LADDER.relative_to(ROOT).as_posix(),
        ladder_table=ladder_table(ladder),
        difference_table=difference_table(ladder["summary"]["differences"]),
        sound=SOUND.relative_to(ROOT).as_posix(),
        sound_table=difference_table(sound["differences"]),
        cold_table=cold_table(ladder),
    )


def write() -> Path:
    """Write the card as README.md of the shop; returns its path."""
    write_text(SHOP / "README.md", card())
    return SHOP / "README.md"


def main(arguments: list[str] | None = None) -> None:
    """Command line of the card."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m utils.lab card", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["probe", "write"])
    options = parser.parse_args(given)
    if options.what == "probe":
        probe(PROBE, given)
    else:
        print(write())
