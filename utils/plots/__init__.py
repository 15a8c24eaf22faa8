"""Figures: charts, pictures of items and the course's style; one file of figures for each notebook stands beside them."""

from utils.plots.charts import (
    fusion_weights,
    group_dots,
    heat_table,
    intervals,
    learning_curves,
    metric_bars,
    popularity_curve,
    tradeoff,
)
from utils.plots.pictures import gallery, neighbours, recommendation_lists
from utils.plots.style import HIT, MODALITY_COLOURS, metric_label, modality_of, png, show, use_course_style
