"""rho without training: late fusion of what people took with what items look, read and sound like."""

from __future__ import annotations

import torch

from utils.models.base import Recommender, Schema
from utils.models.itemknn import ItemKNN
from utils.models.itemknn_content import ItemKNNContent


class ItemKNNMultimodal(Recommender):
    """Two neighbourhoods, two scores, one sum: the simplest late fusion.

    score(u, i) = ItemKNN(u, i) + content_weight * ItemKNNContent(u, i)

    For an item with few takers the first score is weak and the second one as good as ever. The scores are added as they
    are: both are sums of cosines over the same history, and ``content_weight`` is chosen on validation. A cold item has
    only the second score.

    Source: late fusion as in Malitesta et al., TORS, doi:10.1145/3662738, section 3; the parts are those of the two files.
    """

    name = "itemknn_multimodal"
    title = "ItemKNN + content"
    order = 50
    schema = Schema("any", "pretrained", "coordinate", "late", "none")
    DEFAULTS = {"k": 100, "shrink": 20.0, "k_content": 50, "content_weight": 0.15, "normalise": "centred"}
    SEARCH = {"shrink": [0.0, 20.0], "k_content": [20, 50], "content_weight": [0.05, 0.1, 0.15, 0.2, 0.3]}
    uses_features = needs_features = True

    def build(self) -> None:
        s = self.settings
        self.clicks = ItemKNN(self.split, k=s["k"], shrink=s["shrink"])
        self.content = ItemKNNContent(self.split, self.features, k=s["k_content"], normalise=s["normalise"])

    def score(self, user_ids) -> torch.Tensor:
        return self.clicks.score(user_ids) + self.settings["content_weight"] * self.content.score(user_ids)
