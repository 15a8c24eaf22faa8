"""The catalogue of publishers' datasets by name: addresses, terms, and the counts to expect.

What is here was collected without a network: addresses from public code that uses them, counts from the papers and pages
named beside them. Only the counts of ``_COUNTED_2018`` were counted by this course; the others are what others report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from utils.errors import CourseError, suggest

Counts = tuple[int | None, int | None, int | None]  # users, items, interactions; None = not known

UNVERIFIED = (
    "The addresses were taken from public code and could not be tried where this was written; when one has moved, put "
    "the file into the raw folder by hand."
)


@dataclass(frozen=True)
class Source:
    """One file of a publisher: mirrors of it, its kind ("gzip", "zip"), and what the publisher states of it."""

    name: str
    urls: tuple[str, ...]
    kind: str
    size: int | None = None
    md5: str = ""
    md5_url: str = ""


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue.

    Attributes:
        name: what is typed, for example ``amazon-2014-office``.
        family: "amazon" or "movielens".
        edition: "2014", "2018", "2023", or the MovieLens release.
        title, sources, terms, cite: for the card.
        min_rating: smallest rating that counts as an interaction (0 = every one).
        expected: step -> counts that others report.
        origin: where these counts come from.
    """

    name: str
    family: str
    edition: str
    title: str
    sources: Mapping[str, Source]
    terms: str
    cite: str
    min_rating: float = 0.0
    expected: Mapping[str, Counts] = field(default_factory=dict)
    origin: str = ""


_AMAZON_TERMS = (
    "Reviews and product data of Amazon, collected by the group of Julian McAuley for research. The publisher asks you "
    "to cite its paper. No licence to pass the data on could be verified: use it for research and teaching, do not "
    "redistribute it, do not try to find out who the reviewers are. Texts and pictures belong to their authors and sellers."
)
_AMAZON_CITE = {
    "2014": 'R. He and J. McAuley, "Ups and Downs", WWW 2016, DOI 10.1145/2872427.2883037; J. McAuley et al., '
    '"Image-based Recommendations on Styles and Substitutes", SIGIR 2015, DOI 10.1145/2766462.2767755.',
    "2018": 'J. Ni, J. Li and J. McAuley, "Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained '
    'Aspects", EMNLP-IJCNLP 2019, DOI 10.18653/v1/D19-1018.',
    "2023": 'Y. Hou et al., "Bridging Language and Items for Retrieval and Recommendation", 2024, arXiv 2403.03952.',
}
_MOVIELENS_TERMS = (
    "Ratings of MovieLens users, collected by GroupLens Research at the University of Minnesota. You must not state or "
    "imply that they endorse you, must cite their paper, and must not use the data commercially without their "
    "permission. {share} No warranty."
)
_KEEP = "You must not pass the data on without separate permission."
_SHARE = "You may pass it on only under the same conditions."
_MOVIELENS_CITE = (
    'F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5 (4), 2015, '
    "DOI 10.1145/2827872."
)

_2014 = """Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl Cell_Phones_and_Accessories
Clothing_Shoes_and_Jewelry Digital_Music Electronics Grocery_and_Gourmet_Food Health_and_Personal_Care Home_and_Kitchen
Kindle_Store Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors
Tools_and_Home_Improvement Toys_and_Games Video_Games""".split()
_2018 = """AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food
Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty Magazine_Subscriptions Movies_and_TV
Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Prime_Pantry Software Sports_and_Outdoors
Tools_and_Home_Improvement Toys_and_Games Video_Games""".split()
_2023 = """All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products
Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music
Electronics Gift_Cards Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care
Home_and_Kitchen Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments
Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes
Tools_and_Home_Improvement Toys_and_Games Video_Games""".split()

# The names that the lecture uses.
ALIASES = {
    "amazon-2014-office-products": "amazon-2014-office",
    "amazon-2014-digital-music": "amazon-2014-music",
    "amazon-2014-toys-and-games": "amazon-2014-toys",
    "movielens-latest-small": "movielens-small",
    "ml-100k": "movielens-100k",
    "ml-1m": "movielens-1m",
    "ml-latest-small": "movielens-small",
}

# Steps from the publisher's file to the course folder, in their order; catalogue, filter and card share these names.
READ = "reviews read"
REPEATED = "without repeated rows"
VARIANTS = "without copies on variants"
PAIRS = "one per user and item"
JOINED = "with a known item"
RATED = "rated high enough"
COMPLETE = "items with description and picture"
CAME = "items whose picture came"

# 5-core reviews as published; [TORS] Table 3 (DOI 10.1145/3662738) and, for Baby and Music, counts that public
# toolboxes print for the same files.
_PUBLISHED_2014: dict[str, Counts] = {
    "Office_Products": (4905, 2420, 53258),
    "Toys_and_Games": (19412, 11924, 167597),
    "Beauty": (22363, 12101, 198502),
    "Sports_and_Outdoors": (35598, 18357, 296337),
    "Clothing_Shoes_and_Jewelry": (39387, 23033, 278677),
    "Baby": (19445, 7050, 160792),
    "Digital_Music": (5541, 3568, 64706),
}
# The lecture's table: items that have a description and a picture that could be downloaded. Only its item column is
# safe as "what dropping costs": the interactions reflect other processing, too, which the lecture does not spell out.
_LECTURE: dict[str, Counts] = {
    "Office_Products": (4471, 1703, 20608),
    "Digital_Music": (5082, 2338, 30623),
    "Baby": (19100, 6283, 80931),
    "Toys_and_Games": (19241, 11101, 89558),
    "Beauty": (21752, 11145, 100834),
}
# 2018: counted by this course on the publisher's files.
_COUNTED_2018: dict[str, dict[str, Counts]] = {
    "Gift_Cards": {READ: (458, 148, 2972), PAIRS: (458, 148, 2965)},
    "All_Beauty": {READ: (991, 85, 5269), PAIRS: (991, 85, 4092)},
}


def _plain(category: str) -> str:
    return category.lower().replace("_", "-")


def _amazon(edition: str, category: str) -> Entry:
    name = f"amazon-{edition}-{_plain(category)}"
    expected: dict[str, Counts] = {}
    origin = ""
    if edition == "2014":
        bases = ("https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/",)
        files = {"reviews": f"reviews_{category}_5.json.gz", "items": f"meta_{category}.json.gz"}
        if category in _PUBLISHED_2014:
            published = _PUBLISHED_2014[category]
            expected = {READ: published, PAIRS: published}
            origin = "5-core as published"
        if category in _LECTURE:
            expected[COMPLETE] = expected[CAME] = _LECTURE[category]
            origin += (
                "; for complete items the lecture's table, counted when its pictures had come (its interactions "
                "reflect other processing, too)"
            )
    elif edition == "2018":
        hosts = (
            "https://jmcauley.ucsd.edu/data/amazon_v2/",
            "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/",
        )
        bases = hosts
        files = {"reviews": f"categoryFilesSmall/{category}_5.json.gz", "items": f"metaFiles2/meta_{category}.json.gz"}
        if category in _COUNTED_2018:
            expected, origin = _COUNTED_2018[category], "counted by this course on the publisher's file"
    else:
        bases = (
            "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/",
            "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_2023/raw/",
        )
        files = {
            "reviews": f"review_categories/{category}.jsonl.gz",
            "items": f"meta_categories/meta_{category}.jsonl.gz",
        }
    sources = {
        part: Source(path.rsplit("/", 1)[-1], tuple(base + path for base in bases), "gzip")
        for part, path in files.items()
    }
    kind = "all reviews" if edition == "2023" else "5-core"
    return Entry(
        name=ALIASES.get(name, name),
        family="amazon",
        edition=edition,
        title=f"Amazon reviews {edition}, {category.replace('_', ' ')} ({kind})",
        sources=sources,
        terms=_AMAZON_TERMS,
        cite=_AMAZON_CITE[edition],
        expected=expected,
        origin=origin,
    )


def _movielens(name: str, release: str, title: str, share: str, read: Counts, md5: str = "") -> Entry:
    url = f"https://files.grouplens.org/datasets/movielens/{release}.zip"
    source = Source(f"{release}.zip", (url,), "zip", md5=md5, md5_url=f"{url}.md5")
    return Entry(
        name=name,
        family="movielens",
        edition=release,
        title=title,
        sources={"archive": source},
        terms=_MOVIELENS_TERMS.format(share=share),
        cite=_MOVIELENS_CITE,
        min_rating=4.0,
        expected={READ: read, PAIRS: read},
        origin="the publisher's README",
    )


def _all() -> dict[str, Entry]:
    entries = [
        _movielens("movielens-100k", "ml-100k", "MovieLens 100K", _KEEP, (943, 1682, 100000),
                   "0e33842e24a9c977be4e0107933c0723"),
        _movielens("movielens-small", "ml-latest-small", "MovieLens latest-small (it changes over the years)", _SHARE,
                   (610, None, 100836)),
        _movielens("movielens-1m", "ml-1m", "MovieLens 1M", _KEEP, (6040, 3706, 1000209),
                   "c4d9eecfca2ab87c1945afe126590906"),
    ]  # fmt: skip
    for edition, categories in (("2014", _2014), ("2018", _2018), ("2023", _2023)):
        entries += [_amazon(edition, category) for category in categories]
    return {entry.name: entry for entry in entries}


CATALOGUE: dict[str, Entry] = _all()


def find_entry(name: str) -> Entry:
    """Return a dataset of the catalogue; capitals, underscores and long names are fine.

    Raises:
        CourseError: there is none of that name; the nearest are suggested.
    """
    plain = _plain(name.strip())
    plain = ALIASES.get(plain, plain)
    if plain not in CATALOGUE:
        if plain in ("amazon", "amazon-2014", "amazon-2018", "amazon-2023", "movielens"):
            raise CourseError(
                f"{name!r} is a family, not a dataset; `python -m utils.data get --list` names its members."
            )
        raise suggest(plain, CATALOGUE, "dataset of the catalogue")
    return CATALOGUE[plain]


def catalogue() -> pd.DataFrame:
    """Return one row per dataset that can be had: name, title, and the counts that others report (0 = not stated)."""
    rows = []
    for entry in CATALOGUE.values():
        users, items, interactions = entry.expected.get(READ, (None, None, None))
        rows.append((entry.name, entry.title, users or 0, items or 0, interactions or 0))
    return pd.DataFrame(rows, columns=["name", "title", "users", "items", "interactions"])
