"""Evaluation: the protocol, exact ranking, metrics, paired tests, published figures and the leaderboard."""

from utils.evaluation.metrics import short_head
from utils.evaluation.own_metrics import evaluate, evaluate_cold, evaluate_lists
from utils.evaluation.protocol import DEFAULT, METRICS
from utils.evaluation.ranking import recommend, top_items
from utils.evaluation.report import ColdReport, Report, by_group, profile_groups
from utils.evaluation.statistics import compare, compare_all, holm, kendall_tau, mean_spread, repeat
