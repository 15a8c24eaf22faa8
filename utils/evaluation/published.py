"""Evaluation: figures that others have printed, with their source, to set beside the course's own."""

from __future__ import annotations

import io

import pandas as pd

# Recall, nDCG, EFD, Gini (higher = more even) and APLT at 20; item coverage is left out.
_TORS = """\
dataset model recall ndcg efd gini aplt
Office bpr 0.0958 0.0501 0.1387 0.4047 0.2378
Office ngcf 0.0958 0.0478 0.1365 0.4757 0.2817
Office lightgcn 0.1237 0.0655 0.174 0.2144 0.1817
Office sgl 0.1012 0.0566 0.1592 0.3992 0.2928
Office vbpr 0.1025 0.0533 0.1479 0.396 0.2375
Office mmgcn 0.0798 0.0405 0.1027 0.0231 0.0078
Office grcn 0.0667 0.0339 0.1051 0.4892 0.3469
Office lattice 0.1029 0.0566 0.1513 0.2652 0.2039
Office bm3 0.1081 0.0583 0.155 0.19 0.1715
Office freedom 0.0884 0.0469 0.1282 0.2439 0.208
Toys bpr 0.0906 0.0482 0.1345 0.3049 0.1268
Toys ngcf 0.0902 0.0485 0.1365 0.396 0.176
Toys lightgcn 0.1036 0.055 0.1446 0.1037 0.0374
Toys sgl 0.1061 0.0601 0.1681 0.2838 0.1106
Toys vbpr 0.1006 0.0545 0.1527 0.3011 0.118
Toys mmgcn 0.0426 0.02 0.057 0.145 0.1058
Toys grcn 0.0831 0.0436 0.1298 0.4329 0.2482
Toys lattice 0.1165 0.0617 0.1665 0.2026 0.0684
Toys bm3 0.0901 0.0478 0.127 0.1154 0.0658
Toys freedom 0.1249 0.066 0.182 0.2007 0.0951
Beauty bpr 0.0993 0.0511 0.1519 0.2689 0.1195
Beauty ngcf 0.0987 0.0505 0.1473 0.2754 0.1071
Beauty lightgcn 0.1141 0.0599 0.1647 0.0794 0.0343
Beauty sgl 0.1144 0.0626 0.1824 0.1935 0.087
Beauty vbpr 0.1102 0.0586 0.17 0.2376 0.0915
Beauty mmgcn 0.0772 0.0379 0.1105 0.0423 0.0345
Beauty grcn 0.0892 0.0466 0.1498 0.4178 0.2608
Beauty lattice 0.1259 0.0661 0.183 0.1558 0.0511
Beauty bm3 0.1051 0.0545 0.149 0.0414 0.0228
Beauty freedom 0.1286 0.0666 0.1868 0.1359 0.0653
Sports bpr 0.0627 0.0314 0.0861 0.1963 0.0774
Sports ngcf 0.0633 0.0323 0.0876 0.2093 0.0708
Sports lightgcn 0.0839 0.0428 0.1081 0.0342 0.0113
Sports sgl 0.0788 0.0419 0.1122 0.0888 0.0346
Sports vbpr 0.0677 0.0349 0.0949 0.1722 0.0552
Sports mmgcn 0.0551 0.0269 0.0678 0.0168 0.0065
Sports grcn 0.0523 0.0259 0.0746 0.3386 0.2273
Sports lattice 0.0898 0.0456 0.1185 0.0802 0.0185
Sports bm3 0.0825 0.043 0.1118 0.112 0.0385
Sports freedom 0.0911 0.0465 0.1219 0.0926 0.0442
Clothing bpr 0.0459 0.0195 0.0347 0.26 0.0824
Clothing ngcf 0.0443 0.0186 0.0327 0.2788 0.0743
Clothing lightgcn 0.0602 0.0262 0.0438 0.0569 0.0111
Clothing sgl 0.058 0.0263 0.0457 0.1699 0.0435
Clothing vbpr 0.0529 0.0229 0.0413 0.2791 0.0915
Clothing mmgcn 0.0348 0.015 0.024 0.0236 0.0066
Clothing grcn 0.0496 0.0209 0.0397 0.4368 0.2459
Clothing lattice 0.0744 0.0336 0.0589 0.1384 0.0207
Clothing bm3 0.0633 0.0281 0.0486 0.1825 0.0449
Clothing freedom 0.0822 0.0363 0.0652 0.2078 0.0843
"""
SOURCE = "Malitesta et al., ACM TORS, table 6, doi:10.1145/3662738"


def tors_table() -> pd.DataFrame:
    """Return the published test figures of ten trained recommenders on five Amazon datasets, cutoff 20.

    Source: D. Malitesta et al., "Formalizing Multimedia Recommendation through Multimodal Deep Learning", ACM TORS,
    table 6. Per-user random splits, full ranking, train items masked; made with Elliot, whose Gini is higher = more even.

    Returns:
        One row per dataset and model: dataset, model (lower case), recall, ndcg, efd, gini, aplt (all @20).
    """
    return pd.read_csv(io.StringIO(_TORS), sep=" ")


# Recall and nDCG at 20 on the splits that go with them: random per user, full ranking, train items masked.
# LGMRec's row on Baby is its authors' run log. What has no row here has none at hand, which is not to say that none exists.
_SPLITS = """\
dataset model recall ndcg
amazon-baby bpr 0.0575 0.0249
amazon-baby lightgcn 0.0754 0.0328
amazon-baby vbpr 0.0663 0.0284
amazon-baby mmgcn 0.0615 0.0261
amazon-baby grcn 0.0833 0.0363
amazon-baby lattice 0.085 0.037
amazon-baby slmrec 0.0775 0.0353
amazon-baby bm3 0.0883 0.0383
amazon-baby freedom 0.0992 0.0424
amazon-baby mgcn 0.0964 0.0427
amazon-baby lgmrec 0.0982 0.0434
tiktok bpr 0.0346 0.013
tiktok lightgcn 0.0653 0.0282
tiktok ngcf 0.0604 0.0238
tiktok vbpr 0.038 0.0134
tiktok mmgcn 0.073 0.0307
tiktok grcn 0.0804 0.035
tiktok lattice 0.0843 0.0367
tiktok slmrec 0.0845 0.0353
tiktok bm3 0.0957
"""
SPLITS_SOURCE = {
    "amazon-baby": "MMRec's benchmark page; MGCN and LGMRec: their authors",
    "tiktok": "the table of MMSSL (WWW 2023), read in its release, which carries this split; BM3 from DiffMM (MM 2024, arXiv "
    "2406.11781), as handed down with the data; made with text features, too, which are not at hand",
}


def split_table() -> pd.DataFrame:
    """Return the test figures published for Amazon Baby and TikTok: dataset, model, recall, ndcg (@20, NaN = not given).

    Baby: 19,445 users, 7,050 items, image and text features. Other papers use another Baby: never compare across.
    """
    return pd.read_csv(io.StringIO(_SPLITS), sep=" ")
