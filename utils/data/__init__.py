"""Load, check, clean, filter and split a dataset, and keep its ids straight.

Publishers' downloads (:mod:`utils.publishers.dataset`) and folders of one's own (:mod:`utils.own_data.movielens_posters`, `export`,
`report`) are imported by their own names, so that a notebook does not load them.
"""

from utils.data.cleaning import (
    clean,
    drop_duplicate_interactions,
    drop_duplicate_items,
    drop_missing_text,
    drop_unreadable_images,
    drop_unreadable_sounds,
    iterative_k_core,
    keep_positive,
    strip_html,
    strip_markup,
)
from utils.data.dataset import MODALITIES, Dataset, assemble
from utils.data.leakage import check_split, leakage_report
from utils.data.load import find_folder, item_graphs, known_datasets, load_dataset
from utils.data.media import check_media
from utils.data.pictures import image_problem, open_image, sound_problem
from utils.data.planted import truth
from utils.data.split import STRATEGIES, Split, split_dataset
from utils.data.tables import write_table
