"""Recommending by writing ids (semantic ids, tries, a decoder, beams), and stamps that are drawn, judged and explained."""

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
from utils.generation.cvae import CVAE, cvae_loss, interpolate, kl
from utils.generation.depth_decoder import DepthDecoder
from utils.generation.diagnostics import levels, perplexity, published_codes, published_labels, purity, remarks
from utils.generation.diffusion import cosine_schedule, ddim, diffusion_loss, guided, noise_in, noised
from utils.generation.explain import AttributeModel, Reason, attributes_of
from utils.generation.generators import Generator, grid_of, load_eye, load_generator
from utils.generation.jury import Jury
from utils.generation.mmgrec import MMGRec
from utils.generation.personal import likeness, own_rows, personalise, taste
from utils.generation.quantise import Codes, reconstruction, residual_kmeans
from utils.generation.recolour import HUES, in_all_colours
from utils.generation.recommender import ByBeam, IdRecommender, Within
from utils.generation.rqvae import RQVAE, train_rqvae
from utils.generation.sage import GraphSage
from utils.generation.scene import on_envelope
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
from utils.generation.stamps import Stamps, load_stamps, to_pictures
from utils.generation.told import told_by
from utils.generation.trie import Trie
from utils.generation.unet import UNet
from utils.generation.writer import Writer, invalid_rate
