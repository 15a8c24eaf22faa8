"""Find pretrained weights, check that they are the ones that we mean, and refuse a model folder that would run code."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from utils.errors import CourseError
from utils.features.registry import Encoder, Network, named, needs_network
from utils.files import file_digest

# What a model folder needs here; weights only as safetensors, which cannot run code.
HUB_FILES = ["*.json", "*.txt", "*.model", "*.spm", "*.safetensors", "*/config.json", "*/*.safetensors"]
SECONDS = 10
PLAIN = {"local_files_only": True, "trust_remote_code": False}  # how every loader is called on a model folder
# Keys by which sentence-transformers names a class to import, and the classes that may be named: its own, and torch's.
CLASS_KEYS = ("type", "types", "tokenizer_class", "activation_function")
KNOWN_CLASS = re.compile(r"(sentence_transformers|torch\.nn)(\.\w+)*\.[A-Z]\w*")


def folder_digest(folder: Path) -> str:
    """One SHA-256 over the names and contents of the files of a model folder (hidden files left out)."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + file_digest(path).encode())
    return total.hexdigest()


def refuse_code(folder: Path, encoder: str) -> None:
    """Raise when a model folder names code that a loader would import, before anything of it is loaded.

    sentence-transformers imports the classes that modules.json, router_config.json and the modules' own settings name,
    from the folder itself or from any installed package, and asks nobody when the folder is local; transformers does so
    for ``auto_map``, after a question on the terminal. So modules.json and every file named ``*config*.json`` is read, at
    any depth, and only classes of sentence_transformers and torch.nn may be named.

    Raises:
        CourseError: a class from elsewhere, trust in such, an adapter, a settings file that is no JSON, a path or link
            that leaves the folder.
    """
    for here, folders, files in os.walk(folder):
        links = [name for name in folders if Path(here, name).is_symlink()]
        if links:
            raise CourseError(f"Encoder {encoder!r}: {Path(here, links[0])} is a link to a folder; put a copy there.")
        if "adapter_config.json" in map(str.lower, files):
            raise CourseError(
                f"Encoder {encoder!r}: {Path(here, 'adapter_config.json')} makes it an adapter, which names another model and "
                "a library to import; merge it into its model and save that."
            )
        for path in (Path(here, name) for name in sorted(files)):
            if path.name.lower() == "modules.json" or re.search(r"config.*\.json$", path.name.lower()):
                _check_settings(path, folder, encoder)


def _check_settings(path: Path, folder: Path, encoder: str) -> None:
    """Refuse one settings file of a model folder that names foreign code, or a module outside of the folder."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CourseError(f"Encoder {encoder!r}: {path} is no JSON ({error}); fetch the model again.") from None
    modules = path.name.lower() == "modules.json"
    for key, value in _pairs(settings):
        for name in _foreign(key, value, modules):
            raise CourseError(
                f"Encoder {encoder!r}: {path} names {name} ({key}), code from elsewhere that loading would run, and the "
                "course runs no code of a model; choose a model made of the libraries' own classes."
            )
        for place in _places(key, value, modules):
            if not (path.parent / place).resolve().is_relative_to(folder.resolve()):
                raise CourseError(f"Encoder {encoder!r}: {path} names {place}, outside of the folder; put it inside.")


def _foreign(key: str, value: Any, modules: bool) -> list[str]:
    """Classes that an entry names and that are neither of sentence_transformers nor of torch.nn."""
    named = [str(each) for each in (value.values() if isinstance(value, dict) else [value])]
    if key in ("auto_map", "trust_remote_code"):
        return named if value else []
    # Outside of modules.json these keys also have plain values, for example "gelu".
    named = [each for each in named if modules or "." in each]
    return [each for each in named if not KNOWN_CLASS.fullmatch(each)] if key in CLASS_KEYS else []


def _places(key: str, value: Any, modules: bool) -> list[str]:
    """Folders of modules that an entry names."""
    if key == "types" and isinstance(value, dict):
        return list(value)
    return [str(value)] if modules and key == "path" else []


def _pairs(settings: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth of what json.loads returned."""
    waiting = [settings]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def hub_folder(name: str, encoder: str, modality: str) -> Path:
    """Folder of a Hugging Face model: a local folder, the local copy of an earlier download, or downloaded now.

    Args:
        name: a path, or OWNER/MODEL on the hub.
        encoder: the encoder's full name, for the message.
        modality: decides which offline encoders the message names.

    Raises:
        CourseError: no network (said after at most some seconds), no such model, no safetensors weights in it, or code.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or "\\" in name:
            raise CourseError(f"Encoder {encoder!r}: the folder {name} does not exist; correct the path.")
        folder = _hub_copy(name, encoder, modality)
    if not any(folder.rglob("*.safetensors")):
        raise CourseError(f"Encoder {encoder!r}: {folder} holds no .safetensors weights; choose a model that has them.")
    refuse_code(folder, encoder)
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
    except Exception:  # noqa: S110 - not downloaded before; the lines below do it
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
    return named(
        prefix,
        name,
        modality,
        load=lambda layer, **options: load(hub_folder(name, encoder, modality), layer, **options),
        offline=Path(name).is_dir(),
        source=f"{what} {name}",
        weights=lambda **_: folder_digest(hub_folder(name, encoder, modality)),
        **about,
    )
