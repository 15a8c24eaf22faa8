"""Decks, the review: how the paper behind the schema classifies 43 recommenders (its table 1), to be counted."""

from __future__ import annotations

import io

import pandas as pd

SOURCE = "Malitesta et al., ACM TORS, table 1, doi:10.1145/3662738"

# modalities: v visual, t textual, a audio; extraction: P pretrained, E end-to-end, H hand-crafted; "-" is none
_TABLE = """\
year paper modalities extraction representation fusion
2015 Ferracani vt P joint -
2015 Jia vt H joint -
2015 Li va H joint -
2016 Nie vt H coordinate early
2016 Chen vt H joint -
2017 Han vt E coordinate early
2017 Oramas ta E coordinate early
2017 Zhang vt E coordinate early
2018 PinSage vt P joint -
2018 LRMM vt P joint -
2019 MAML vt P joint -
2019 Chen_X vt P - -
2019 MMGCN vta P coordinate early
2019 MMALFM vt P - -
2019 Dong vt P coordinate early
2019 POG vt P joint -
2019 Yu vt P+E joint+coordinate early
2020 MV-RNN vt P coordinate late
2020 GRCN vta P coordinate early
2020 MKGAT vt P joint -
2020 Chen_Li vt P joint -
2020 Min vta P joint -
2020 Shen vt H+P coordinate early
2020 Yang_X vt P coordinate late
2020 MGAT vta P coordinate early
2020 AMNN vt P coordinate early
2021 Sang vt P coordinate early
2021 PMGT vta P coordinate early
2021 LATTICE vt P coordinate early
2021 Vaswani ta P coordinate early
2021 Lei vta P+E - -
2021 Market2Dish vt P joint -
2022 A3-FKG vt P joint -
2022 MM-Rec vt P coordinate early
2022 MVGAE vt P coordinate late
2022 MMGCL vta P coordinate late
2022 Liu_Z vt P coordinate early
2022 HCGCN vt P coordinate early
2022 EgoGCN vta P coordinate early
2022 FREEDOM vt P coordinate late
2023 DualGNN vta P coordinate early
2023 MMSSL vta P coordinate late
2023 BM3 vt P coordinate late
"""


def papers() -> pd.DataFrame:
    """Return one row per paper: year, paper, modalities, extraction, representation, fusion ("-" = none)."""
    return pd.read_csv(io.StringIO(_TABLE), sep=" ")


def counts() -> dict[str, pd.Series]:
    """Return question -> answer -> number of papers; a paper with two answers counts for both."""
    table = papers()
    names = {"v": "visual", "t": "textual", "a": "audio", "P": "pretrained", "E": "end-to-end", "H": "hand-crafted"}
    which = pd.Series([names[letter] for row in table["modalities"] for letter in row])
    how = pd.Series([names[letter] for row in table["extraction"] for letter in row.split("+")])
    means = pd.Series([word for row in table["representation"] for word in row.split("+")]).replace("-", "none")
    when = table["fusion"].replace("-", "none")
    return {
        "Which?": which.value_counts(),
        "How? extraction": how.value_counts(),
        "How? representation": means.value_counts(),
        "When? fusion": when.value_counts(),
    }
