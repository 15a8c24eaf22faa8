"""Real data from its publishers: MovieLens and the Amazon reviews, fetched, checked, joined and cut to a course folder."""

from utils.publishers.dataset import get
