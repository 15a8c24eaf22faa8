"""Build the embedded Sticker Shop from the Debian package of Tux Paint's stamps.

Run ``python -m utils.lab shop build --deb FILE.deb [--weights mobilenet_v2-b0353104.pth] data/sticker_shop``.
The same package and library versions give the same bytes. Order: content (pictures, texts, sounds) -> hidden attributes
(:mod:`utils.shop.attributes`) -> simulated shoppers (:mod:`utils.shop.simulate`) -> raw tables with dirt
(:mod:`utils.shop.raw_tables`) -> prepared features. The card is made afterwards, from measured results
(:mod:`utils.studies.ladder`, :mod:`utils.lab.shop_card`); LICENSE is written by hand.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from utils.data import drop_unreadable_images, drop_unreadable_sounds, load_dataset, strip_html, write_table
from utils.features import MODALITIES, extract
from utils.features.prepared_features import save_prepared
from utils.shop.attributes import attributes
from utils.shop.content import PACKAGE, VERSION, build_content
from utils.shop.raw_tables import dirty_items, raw_tables
from utils.shop.simulate import core, simulate
from utils.shop.truth import save_truth


def build(source: Path, folder: Path, weights: Path | None = None, seed: int = 0) -> None:
    """Make the whole folder: content, truth, clean and raw tables (features and card: see :func:`main`)."""
    content, _ = build_content(source, folder)
    hidden = attributes(content, folder, weights, folder / "truth/attributes.tsv")
    dirt = dirty_items(folder, content.mirrors, content.repeats)
    shop = simulate(hidden, seed, items=content.items)
    save_truth(folder, shop, hidden)
    raw_items, raw_log = raw_tables(content.items, shop.interactions, dirt, seed)
    write_table(folder / "raw/items.tsv", raw_items)
    write_table(folder / "raw/interactions.tsv.gz", raw_log)
    kept = core(shop.interactions)
    silent = [samples is None for samples in content.sounds]  # a few files of the package hold silence: raw names them
    items = content.items.assign(audio=content.items["audio"].mask(silent, ""))
    write_table(folder / "items.tsv", items[items["item"].isin(kept["item"])])
    write_table(folder / "interactions.tsv.gz", kept)


def prepare_features(folder: Path) -> None:
    """Write ``features/`` with the default encoders: one row for each item of the raw tables, so that all tables fit.

    Texts are taken without their HTML; unreadable pictures and silent sounds are masked. What depends on the machine
    (seconds, use of the cache) is left out of the provenance.
    """
    dataset = drop_unreadable_sounds(drop_unreadable_images(strip_html(load_dataset(folder, "raw"))))
    (folder / "features/items.txt").unlink(missing_ok=True)
    for modality in MODALITIES:
        features = extract(dataset, modality)
        provenance = {k: v for k, v in features.provenance.items() if k not in ("seconds", "n_cached")}
        save_prepared(replace(features, provenance=provenance), folder)


def main(arguments: list[str] | None = None) -> None:
    """Command line: ``build`` the folder."""
    parser = argparse.ArgumentParser(prog="python -m utils.lab shop", description="Build the Sticker Shop.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="make the folder from the Debian package")
    make.add_argument(
        "--deb", type=Path, required=True, help=f"{PACKAGE}_{VERSION}_all.deb, or the folder it unpacks to"
    )
    make.add_argument("--weights", type=Path, help="mobilenet_v2-b0353104.pth, for the looks (else kept from before)")
    again = commands.add_parser("features", help="make features/ anew with the default encoders")
    for command in (make, again):
        command.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    if given.command == "build":
        build(given.deb, given.folder, given.weights)
    prepare_features(given.folder)
    print(f"{given.folder}: {sum(f.stat().st_size for f in given.folder.rglob('*') if f.is_file()) / 1e6:.1f} MB")
