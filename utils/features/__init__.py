"""Features (phi, "How?"): pictures, words and sounds become one matrix per modality, aligned by item id."""

from __future__ import annotations

# The one place that imports all encoders: each of these modules puts its own into the registry.
from utils.features.encoders import audio, custom, image, pretrained, text
from utils.features.extraction import extract
from utils.features.matrix import MODALITIES, Features
from utils.features.prepared_features import check_content, load_features, prepared, save_prepared
from utils.features.registry import DEFAULTS, Encoder, Network, encoder_table, register, register_family
