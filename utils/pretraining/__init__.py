"""Histories in the order of time: sequences, what counts and closed forms make of them, two transformers, and how they are trained."""

from utils.pretraining.bags import Bags, course_bags, image_words, text_bags
from utils.pretraining.closed import FoldedIn, LinearVotes, closed_form, closed_forms
from utils.pretraining.counting import (
    PairCounts,
    Popularity,
    content_neighbours,
    neighbours,
    opponents,
    transitions,
)
from utils.pretraining.handover import keep_weights, start_from
from utils.pretraining.loop import n_batches, train_next
from utils.pretraining.mp4sr import MP4SR
from utils.pretraining.next_item import evaluate_next, hit_rate_among, next_items
from utils.pretraining.published import read_item_attributes, read_item_names, read_sequences, rising_share
from utils.pretraining.sasrec import SASRec
from utils.pretraining.sequences import Sequences, sequences_of
from utils.pretraining.subsets import busiest, from_lists, of_users, some_users, without_items
