"""Histories in the order of time: sequences, what counting makes of them, a causal transformer, and how it is trained."""

from utils.pretraining.published import read_item_names, read_sequences, rising_share
from utils.pretraining.sequences import Sequences, sequences_of
