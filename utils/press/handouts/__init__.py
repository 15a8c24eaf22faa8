"""Handouts: the one-page cheat sheet, the glossary and the reading list; texts in slides/handouts, pages in build/."""
