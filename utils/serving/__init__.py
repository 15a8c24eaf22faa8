"""Models that outlive the session: kept on disk, asked by name, for users of the log and for somebody new."""

from utils.serving.by_name import because, recommend_for, similar_items, top_table
from utils.serving.keep import load_model, save_model
from utils.serving.newcomers import fold_in
