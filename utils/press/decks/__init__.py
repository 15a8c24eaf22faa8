"""Decks: the slides of the lecture, built from `slides/*.md`, the records and the course's own code."""
