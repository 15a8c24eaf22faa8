"""Training: sampling, epochs, early stopping, and the search for settings; for models by name and of your own."""

from utils.training.fitting import fit
from utils.training.loop import (
    LOOP,
    PATIENCE,
    History,
    NegativeSampler,
    make_optimiser,
    train,
    trial_settings,
    validator,
)
from utils.training.search import tune
