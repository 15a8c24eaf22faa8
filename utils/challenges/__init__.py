"""The open challenges of the lecture, each small enough to be read: missing modalities, reviews, extractors, fine features."""
