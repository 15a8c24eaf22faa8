"""A small course folder and tiny models with random weights, made on the spot, for the tests of utils/features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from utils.data import Dataset, load_dataset
from utils.features.at_scale.layouts import row_id

COLOURS = [(220, 40, 40), (40, 160, 60), (50, 80, 220), (230, 200, 40)]
NOUNS = ["apple", "boat", "cat", "drum", "engine", "flower", "glove", "horse", "island", "jacket", "kite", "lamp"]


def draw(path: Path, number: int, size: tuple[int, int] = (96, 64)) -> None:
    """A picture that no other number has: coloured shapes on white."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.integers(0, size[0] - 30), rng.integers(0, size[1] - 30)
        pen.ellipse((x, y, x + rng.integers(10, 30), y + rng.integers(10, 30)), fill=COLOURS[number % 4])
    image.save(path)


def make_folder(
    folder: Path, n_items: int = 12, no_image: tuple[int, ...] = (3,), no_text: tuple[int, ...] = (5,)
) -> Path:
    """items.tsv, interactions.tsv and images/; item ids are letters, so that no position is taken for an id."""
    (folder / "images").mkdir(parents=True)
    lines = ["item\ttitle\tdescription\tdescription_it\tcategory\timage"]
    names = [f"item-{chr(ord('z') - i)}" for i in range(n_items)]
    for i, name in enumerate(names):
        image = "" if i in no_image else f"images/{i}.png"
        if image:
            draw(folder / image, i)
        noun = NOUNS[i % 12]
        text = "" if i in no_text else f"A {noun}" + " that is quite unlike every other one" * (i % 3) + "."
        lines.append(f"{name}\t\t{text}\t{'Una cosa ' + noun if text else ''}\tkind{i % 2}\t{image}")
    (folder / "items.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = [f"u{u}\t{names[(u + k) % n_items]}" for u in range(6) for k in range(3)]
    (folder / "interactions.tsv").write_text("user\titem\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    return folder


def make_dataset(folder: Path, **options: object) -> Dataset:
    """Write the folder and load it."""
    return load_dataset(str(make_folder(folder, **options)))


def make_tokenizer() -> object:
    """A word tokenizer whose vocabulary is that of the descriptions above."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "that", "is", "quite", "unlike", "every", "other", "one", *NOUNS]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )


def make_tiny_bert(folder: Path) -> None:
    """A BERT of two layers with its tokenizer."""
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tiny_clip(folder: Path) -> None:
    """A CLIP model with tokenizer and image processor: 32 x 32 pictures, a shared space of 12."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    words = CLIPTextConfig(
        **shape, vocab_size=len(tokenizer), max_position_embeddings=32, bos_token_id=2, eos_token_id=3, pad_token_id=0
    )
    pictures = CLIPVisionConfig(**shape, image_size=32, patch_size=8)
    config = CLIPConfig(text_config=words.to_dict(), vision_config=pictures.to_dict(), projection_dim=12)
    CLIPModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)


def make_tiny_vit(folder: Path) -> None:
    """A vision transformer for 32 x 32 pictures."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    ViTModel(ViTConfig(**shape, image_size=32, patch_size=8)).eval().save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def make_tiny_audio(folder: Path) -> None:
    """A wav2vec2 a thousandth of the usual size."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=16_000, do_normalize=True).save_pretrained(folder)


def read_files(folder: Path, names: list[str], pair: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of ``<id>.npy`` files by id, (n, dim) with zeros for a missing file, and which of the n are there."""
    found = {row_id(path.stem, pair): np.load(path).reshape(-1) for path in folder.glob("*.npy")}
    dim = len(next(iter(found.values())))
    rows = [found.get(str(name), np.zeros(dim, np.float32)) for name in names]
    return np.stack(rows), np.array([str(name) in found for name in names])
