"""Content of the Sticker Shop: pictures, texts, sounds and categories of the stamps in Debian's package of Tux Paint."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from utils.data.pictures import FORMATS
from utils.errors import CourseError
from utils.shop.oggfile import encode_vorbis

PACKAGE = "tuxpaint-stamps-default"
VERSION = "2022.06.04-1"
STAMPS = "usr/share/tuxpaint/stamps/"
DOCS = f"usr/share/doc/{PACKAGE}/"
LANGUAGES = ("it", "fr", "es", "de")
LONGEST_SIDE = 160  # pixels
SAMPLE_RATE = 16_000  # Hz
LONGEST_SOUND = 5.0  # seconds
# Letters, digits, flags, signs, coins and other glyphs: they are symbols to read, not things to like.
LEFT_OUT = ("symbols/", "town/flags/", "town/roadsigns/")
STYLE_FOLDERS = {"cartoon", "toys", "plastic"}  # how a thing is drawn, not what it is: no part of the category
LEAF_MINIMUM = 8  # a third-level folder becomes a category of its own from this many stamps on


@dataclass
class Stamp:
    """One stamp of the package: its path inside the stamp folder, its texts and its media."""

    path: str
    picture: bytes
    texts: dict[str, str] = field(default_factory=dict)
    sound: bytes = b""

    @property
    def item(self) -> str:
        """Id made of a hash of the path: says nothing about the category, the name or the order of the files."""
        number = int(hashlib.sha1(self.path.encode(), usedforsecurity=False).hexdigest(), 16)
        letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
        return "".join(letters[(number >> (5 * k)) % 32] for k in range(6))

    @property
    def style(self) -> str:
        """``drawing`` for the folders of cartoons and toys, else ``photo`` (the package knows no more than that)."""
        return "drawing" if STYLE_FOLDERS & set(PurePosixPath(self.path).parts) else "photo"

    @property
    def title(self) -> str:
        """Name from the file name: ``town/uk_post_box.png`` -> ``Uk post box``."""
        words = re.sub(r"([a-z])([A-Z])", r"\1 \2", PurePosixPath(self.path).stem)
        words = re.sub(r"[\W\d_]+", " ", words).strip().lower()
        return words[:1].upper() + words[1:]


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of the regular files of a .deb (ar + tar) or of a folder where it was extracted."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    data = source.read_bytes()
    if data[:8] != b"!<arch>\n":
        raise CourseError(f"{source} is not a Debian package; give the .deb of {PACKAGE} or the folder it unpacks to.")
    offset = 8
    while offset < len(data):
        name, size = data[offset : offset + 16].decode().strip().rstrip("/"), int(data[offset + 48 : offset + 58])
        if name.startswith("data.tar"):
            block = data[offset + 60 : offset + 60 + size]
            try:
                archive = tarfile.open(fileobj=io.BytesIO(block))
            except tarfile.ReadError as error:  # zst before Python 3.14
                raise CourseError(f"Cannot read {name} in {source}; unpack it and give the folder.") from error
            for member in archive:
                path = member.name.removeprefix("./")
                # Nothing is written under a member's name, and links and devices are no content.
                if member.isfile() and ".." not in PurePosixPath(path).parts and not path.startswith("/"):
                    yield path, archive.extractfile(member).read()
            return
        offset += 60 + size + size % 2
    raise CourseError(f"{source} has no data.tar inside; download the package again.")


def parse_texts(raw: bytes) -> dict[str, str]:
    """Texts of one stamp: the first line is English, then ``xx.utf8=...`` lines. Returns language -> text."""
    lines = raw.decode("utf-8").splitlines()
    texts = {"en": " ".join(lines[0].split())} if lines else {}
    for line in lines[1:]:
        language, mark, text = line.partition(".utf8=")
        if mark and language in LANGUAGES and text.strip():
            texts[language] = " ".join(text.split())
    return texts


def read_stamps(source: Path) -> tuple[list[Stamp], dict[str, str]]:
    """Read the stamps that have a picture (PNG), sorted by path, and the package's documents.

    Stamps that exist as SVG only are left out, because drawing them would need one more dependency. Mirror images
    (``*_mirror.png``) come without a text: they are no items of the shop, but dirt for its raw tables.
    """
    pictures, texts, sounds, documents = {}, {}, {}, {}
    for path, data in _members(source):
        if path.startswith(DOCS):
            documents[path.removeprefix(DOCS)] = data.decode("utf-8", "replace") if path.endswith("copyright") else ""
        if not path.startswith(STAMPS) or path.startswith(tuple(STAMPS + left for left in LEFT_OUT)):
            continue
        stem, _, ending = path.removeprefix(STAMPS).rpartition(".")
        {"png": pictures, "txt": texts, "ogg": sounds}.get(ending, {})[stem] = data
    if not pictures:
        raise CourseError(
            f"{source} holds no stamps; give the .deb of {PACKAGE} {VERSION} or the folder it unpacks to."
        )
    stems = sorted(stem for stem in pictures if stem in texts or stem.endswith("_mirror"))
    # NAME.ogg is the sound effect; NAME_desc.ogg and NAME_desc_xx.ogg are spoken names, which would be text again.
    stamps = [Stamp(f"{s}.png", pictures[s], parse_texts(texts.get(s, b"")), sounds.get(s, b"")) for s in stems]
    return stamps, documents


def categories(paths: list[str]) -> list[str]:
    """Category ``top/sub`` of each path; a third level replaces the second where it holds enough stamps."""
    folders = [[p for p in PurePosixPath(path).parent.parts if p not in STYLE_FOLDERS] for path in paths]
    size = Counter(tuple(f[:3]) for f in folders if len(f) > 2)
    return [f"{f[0]}/{f[2]}" if len(f) > 2 and size[tuple(f[:3])] >= LEAF_MINIMUM else "/".join(f[:2]) for f in folders]


def make_picture(png: bytes) -> tuple[bytes, np.ndarray]:
    """Composite one stamp on white, crop its margin, shrink it: (JPEG bytes, alpha mask (height, width) bool)."""
    with Image.open(io.BytesIO(png), formats=FORMATS) as opened:
        stamp = opened.convert("RGBA")
    box = stamp.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox() or (0, 0, *stamp.size)
    stamp = stamp.crop(box)
    stamp.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    page = Image.new("RGBA", stamp.size, "white")
    page.alpha_composite(stamp)
    buffer = io.BytesIO()
    page.convert("RGB").save(buffer, "JPEG", quality=86, optimize=True)
    return buffer.getvalue(), np.asarray(stamp.getchannel("A")) > 64


def make_sound(ogg: bytes) -> tuple[bytes, np.ndarray]:
    """First seconds of a sound, mono, 16 kHz, faded out at the cut: (OGG bytes, samples (n,) float32)."""
    import soundfile
    from scipy.signal import resample_poly

    samples, rate = soundfile.read(io.BytesIO(ogg), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    common = np.gcd(rate, SAMPLE_RATE)
    mono = (
        resample_poly(mono, SAMPLE_RATE // common, rate // common).astype(np.float32) if rate != SAMPLE_RATE else mono
    )
    loud = np.flatnonzero(np.abs(mono) > 0.01 * max(np.abs(mono).max(), 1e-6))
    mono = mono[loud[0] :] if len(loud) else mono  # a silent start tells nothing and costs time
    length = int(LONGEST_SOUND * SAMPLE_RATE)
    if len(mono) > length:
        mono = mono[:length].copy()
        mono[-800:] *= np.linspace(1, 0, 800, dtype=np.float32)
    mono = np.clip(mono * (0.7 / max(np.abs(mono).max(), 1e-6)), -1, 1)
    return encode_vorbis(mono, SAMPLE_RATE), mono


def near_duplicates(pictures: list[np.ndarray], names: list[str]) -> np.ndarray:
    """Positions whose picture and name repeat an earlier one.

    Args:
        pictures: small grey pictures (16, 16) of the stamps.
        names: the English texts of the stamps. Only stamps with the same text are compared.
    """
    flat = np.stack(pictures).reshape(len(pictures), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9
    repeats = []
    for j in range(len(names)):
        same = [i for i in range(j) if names[i] == names[j] and i not in repeats]
        if any(max(flat[i] @ flat[j], flat[i] @ flat[j].reshape(16, 16)[:, ::-1].ravel()) > 0.9 for i in same):
            repeats.append(j)
    return np.array(repeats, dtype=np.int64)


@dataclass
class Content:
    """What the shop sells: items (one row each, sorted by id), with masks and samples for the attributes."""

    items: pd.DataFrame  # item, title, description, description_xx, category, image, audio
    source: pd.DataFrame  # item, path, style: where each item comes from
    masks: list[np.ndarray]  # (height, width) bool, True where the stamp is not transparent
    sounds: list[np.ndarray | None]  # (samples,) float32 at 16 kHz
    repeats: list[tuple[Stamp, str]]  # near-duplicates left out, with their category: material for the raw tables
    mirrors: list[tuple[Stamp, str]]  # mirror images without a text, with their category: likewise


def build_content(source: Path, folder: Path) -> tuple[Content, dict[str, str]]:
    """Read the package and write ``images/`` and ``sounds/``; returns the content and the package's documents."""
    stamps, documents = read_stamps(source)
    labels = categories([s.path for s in stamps])
    mirrors = [(s, c) for s, c in zip(stamps, labels) if not s.texts]
    order = sorted((k for k in range(len(stamps)) if stamps[k].texts), key=lambda k: stamps[k].item)
    stamps, labels = [stamps[k] for k in order], [labels[k] for k in order]
    made = [make_picture(s.picture) for s in stamps]
    grey = [
        np.asarray(Image.open(io.BytesIO(j), formats=FORMATS).convert("L").resize((16, 16)), np.float32)
        for j, _ in made
    ]
    repeats = set(near_duplicates(grey, [s.texts["en"] for s in stamps]).tolist())
    keep = [k for k in range(len(stamps)) if k not in repeats]
    if len({stamps[k].item for k in keep}) != len(keep):
        raise CourseError("Two stamps got the same item id; lengthen the hash in Stamp.item.")
    for name in ("images", "sounds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for stale in [*(folder / name).glob("*.jpg"), *(folder / name).glob("*.ogg")]:
            stale.unlink()
    rows, sounds = [], []
    for k in keep:
        stamp = stamps[k]
        (folder / f"images/{stamp.item}.jpg").write_bytes(made[k][0])
        samples = None
        if stamp.sound:
            data, samples = make_sound(stamp.sound)
            (folder / f"sounds/{stamp.item}.ogg").write_bytes(data)
            samples = samples if np.abs(samples).max() > 0 else None
        sounds.append(samples)
        rows.append(
            {"item": stamp.item, "title": stamp.title, "description": stamp.texts["en"]}
            | {f"description_{x}": stamp.texts.get(x, "") for x in LANGUAGES}
            | {"category": labels[k], "image": f"images/{stamp.item}.jpg"}
            | {"audio": f"sounds/{stamp.item}.ogg" if stamp.sound else ""}
        )
    source_table = pd.DataFrame(
        [{"item": stamps[k].item, "path": stamps[k].path, "style": stamps[k].style} for k in keep]
    )
    left = [(stamps[k], labels[k]) for k in sorted(repeats)]
    return Content(pd.DataFrame(rows), source_table, [made[k][1] for k in keep], sounds, left, mirrors), documents
