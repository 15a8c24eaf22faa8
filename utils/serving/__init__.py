"""Models that outlive the session: kept on disk and loaded again."""

from utils.serving.keep import load_model, save_model
