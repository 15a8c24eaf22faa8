"""Histories in the order of time: sequences, what counting makes of them, a causal transformer, and how it is trained."""

from utils.pretraining.counting import PairCounts, Popularity, neighbours, opponents, transitions
from utils.pretraining.loop import train_next
from utils.pretraining.next_item import evaluate_next, hit_rate_among, next_items
from utils.pretraining.published import read_item_names, read_sequences, rising_share
from utils.pretraining.sasrec import SASRec
from utils.pretraining.sequences import Sequences, sequences_of
