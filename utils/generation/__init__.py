"""Recommending by writing ids: semantic ids and what is wrong with them, tries, a decoder, beams against exact lists."""

from utils.generation.ask import Asker
from utils.generation.cold import Only, hide_items
from utils.generation.composed import (
    Combiner,
    TwoTower,
    best,
    direction,
    judged,
    train_combiner,
    train_towers,
    weighted,
)
from utils.generation.depth_decoder import DepthDecoder
from utils.generation.diagnostics import levels, perplexity, published_codes, published_labels, purity, remarks
from utils.generation.mmgrec import MMGRec
from utils.generation.quantise import Codes, reconstruction, residual_kmeans
from utils.generation.recolour import HUES, in_all_colours
from utils.generation.recommender import ByBeam, IdRecommender, Within
from utils.generation.rqvae import RQVAE, train_rqvae
from utils.generation.sage import GraphSage
from utils.generation.semantic_ids import (
    SemanticIds,
    below,
    both_vectors,
    click_vectors,
    code_table,
    content_vectors,
    permuted,
    popularity_of,
    random_codes,
    shuffled,
    with_ties,
)
from utils.generation.trie import Trie
from utils.generation.writer import Writer, invalid_rate
