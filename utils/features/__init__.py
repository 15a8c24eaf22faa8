"""Room `features` (phi, "How?"): pictures, words and sounds become one matrix per modality, aligned by item id."""

from __future__ import annotations

import importlib
import importlib.util

from utils.features.extract import extract
from utils.features.matrix import MODALITIES, Features
from utils.features.prepared import check_content, load_features, prepared, save_prepared
from utils.features.registry import DEFAULTS, Encoder, Network, encoders, register, register_family

# Each of these modules puts its encoders into the registry.
for _module in ("image", "text", "hub", "audio", "own"):
    if importlib.util.find_spec(f"utils.features.{_module}") is not None:
        importlib.import_module(f"utils.features.{_module}")

__all__ = [
    "DEFAULTS",
    "MODALITIES",
    "Encoder",
    "Features",
    "Network",
    "check_content",
    "encoders",
    "extract",
    "load_features",
    "prepared",
    "register",
    "register_family",
    "save_prepared",
]
