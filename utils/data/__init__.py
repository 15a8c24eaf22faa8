"""Room "Which?" of the schema: load, check, clean, filter and split a dataset, and keep its ids straight."""

from utils.data.catalogue import catalogue  # the function takes the place of its module, as truth does
from utils.data.clean import (
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
from utils.data.convert import CONVERTERS, convert
from utils.data.dataset import MODALITIES, Dataset, assemble
from utils.data.leakage import check_split, leakage_report
from utils.data.load import find_folder, item_graphs, known_datasets, load_dataset
from utils.data.media import check_media
from utils.data.pictures import image_problem, open_image, sound_problem
from utils.data.publishers import get
from utils.data.split import STRATEGIES, Split, split_dataset
from utils.data.tables import write_table
from utils.data.truth import truth  # the function takes the place of its module: utils.data.truth(dataset)

__all__ = [
    "CONVERTERS",
    "Dataset",
    "MODALITIES",
    "STRATEGIES",
    "Split",
    "assemble",
    "catalogue",
    "check_media",
    "check_split",
    "clean",
    "convert",
    "drop_duplicate_interactions",
    "drop_duplicate_items",
    "drop_missing_text",
    "drop_unreadable_images",
    "drop_unreadable_sounds",
    "find_folder",
    "get",
    "image_problem",
    "iterative_k_core",
    "keep_positive",
    "item_graphs",
    "known_datasets",
    "leakage_report",
    "load_dataset",
    "open_image",
    "sound_problem",
    "split_dataset",
    "strip_html",
    "strip_markup",
    "truth",
    "write_table",
]
