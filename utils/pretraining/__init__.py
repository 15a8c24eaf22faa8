"""Histories in the order of time: sequences, what counting makes of them, a causal transformer, and how it is trained."""

from utils.pretraining.published import read_sequences
from utils.pretraining.sequences import Sequences, rising_share, sequences_of
