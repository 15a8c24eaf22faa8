"""Read extraction jobs from a YAML file, or from what was typed, and check them.

dataset: sticker_shop            # a folder's name in data/, or a path
out: build/features
batch_size: 16                   # every setting of a job may stand here, for all jobs
jobs:
  - modality: visual
    encoder: efficientnet_lite0
    layers: [avgpool, features.4]
    normalise: zscore            # an option of the encoder, like size, fit, mean, std
  - modality: textual
    source: interactions         # reviews, one row per interaction
    clean: plain
    out: build/reviews
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import CourseError, suggest
from utils.features.at_scale.blocks import SIDES
from utils.features.at_scale.job import PAIR, Job
from utils.features.registry import find
from utils.files import check_yaml

# Key of a job -> the types that it may have. Whatever else a job names is an option of its encoder.
KINDS: dict[str, tuple[type, ...]] = {
    "dataset": (str,),
    "tables": (str,),
    "modality": (str,),
    "out": (str,),
    "encoder": (str, dict),
    "layer": (str,),
    "layers": (list, str),
    "source": (str,),
    "ids": (str,),
    "language": (str, type(None)),
    "clean": (str, bool, list, type(None)),
    "options": (dict,),
    "batch_size": (int,),
    "block": (int,),
    "dtype": (str,),
    "format": (str,),
    "fusion": (str, type(None)),
    "on_error": (str,),
    "device": (str,),
}
REQUIRED = ("dataset", "modality", "out")
OTHER_NAMES = {"image": "visual", "text": "textual", "sound": "audio", "image+text": PAIR, "visual_textual": PAIR}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file as plain values; a key given twice is refused, for YAML keeps the last one silently.

    Raises:
        CourseError: no such file, no UTF-8, no YAML (line and column), not a mapping, a key twice.
    """
    import yaml

    path = Path(path)

    class Loader(yaml.SafeLoader):
        """SafeLoader: no tag of YAML makes a Python object."""

    def mapping(loader: Loader, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = loader.construct_object(key)
            if not isinstance(name, str):
                raise CourseError(
                    f"{path}, line {key.start_mark.line + 1}: the key {name!r} is no word; put it in quotes."
                )
            if name in seen:
                raise CourseError(f"{path}, line {key.start_mark.line + 1}: the key {name!r} stands twice; keep one.")
            seen.add(name)
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        value = yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise CourseError(f"The configuration {path} does not exist; correct the path.") from None
    except CourseError:
        raise
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except ValueError as error:
        raise CourseError(f"{path} holds no settings of a job: {error}; write them out plainly.") from None
    except OSError as error:
        raise CourseError(f"The configuration {path} cannot be read ({error.strerror}); correct the path.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CourseError(f"{path}{where}: no YAML ({getattr(error, 'problem', None) or error}); correct it.") from None
    if not isinstance(value, dict):
        raise CourseError(f"{path} holds no settings; begin with dataset: NAME.")
    return value


def jobs_of(
    config: Mapping[str, Any], where: str = "the settings", given: Mapping[str, Any] | None = None
) -> list[Job]:
    """Make the jobs of a configuration; ``given`` (typed on the command line) wins over the file.

    Raises:
        CourseError: one sentence with file, key, remedy and the nearest known key.
    """
    shared = {key: value for key, value in config.items() if key != "jobs"}
    listed = config.get("jobs", [{}])
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise CourseError(f"{where}, key jobs: give a list of settings, each beginning with '- modality:'.")
    jobs = []
    for number, own in enumerate(listed, 1):
        place = f"{where}, job {number}" if "jobs" in config else where
        settings = {**shared, **own}
        if "layers" in (given or {}):  # typed: wins over either spelling in the file
            settings.pop("layer", None)
        jobs.append(_job({**settings, **(given or {})}, place))
    outs = [job.out.resolve() for job in jobs]
    for job in jobs:
        if outs.count(job.out.resolve()) > 1:
            raise CourseError(f"{where}, key out: two jobs write to {job.out}; give each its own folder.")
    return jobs


def _job(settings: dict[str, Any], where: str) -> Job:
    """One job, every key checked."""
    from utils.data import load_dataset

    for key in REQUIRED:
        if key not in settings:
            near = [name for name in settings if name not in KINDS]
            hint = f"; is {near[0]!r} meant for it?" if near else f"; add {key}: ..."
            raise CourseError(f"{where}: the key {key!r} is missing{hint}")
    for key, kinds in KINDS.items():
        value = settings.get(key)
        wrong_bool = isinstance(value, bool) and bool not in kinds
        if key in settings and (wrong_bool or not isinstance(value, kinds)):
            names = {str: "a word", int: "a whole number", list: "a list", dict: "a mapping", bool: "true or false"}
            wanted = " or ".join(names[kind] for kind in kinds if kind in names)
            raise CourseError(f"{where}, key {key}: {value!r} is not {wanted}; correct it.")
    modality = OTHER_NAMES.get(settings["modality"], settings["modality"])
    if "layer" in settings and "layers" in settings:
        raise CourseError(f"{where}: layer and layers both stand there; keep one.")
    layers = settings.get("layers", settings.get("layer", ()))
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    if not all(isinstance(layer, str) for layer in layers):
        raise CourseError(f"{where}, key layers: give names, in quotes where they are numbers.")
    loose = {key: value for key, value in settings.items() if key not in KINDS}
    plain = "source ids language clean batch_size block dtype format on_error device encoder".split()
    chosen = {key: settings[key] for key in plain if key in settings}
    chosen["options"] = {**settings.get("options", {}), **loose}
    chosen["fusion"] = settings.get("fusion") or ""
    try:
        _check_options(modality, chosen, loose)
        dataset = load_dataset(settings["dataset"], tables=settings.get("tables", ""))
        return Job(dataset, modality, settings["out"], layers=layers, **chosen)
    except CourseError as error:
        raise CourseError(f"{where}: {error}") from None


def _check_options(modality: str, chosen: Mapping[str, Any], loose: Mapping[str, Any]) -> None:
    """Options are known by the encoder; a misspelt key is compared with the encoder's options and with a job's keys."""
    if modality == PAIR:
        unknown = [key for key in loose if key not in SIDES]
        if unknown:
            raise suggest(unknown[0], [*KINDS, *SIDES], "key")
        return
    if isinstance(chosen.get("encoder"), dict):
        raise CourseError(f"key encoder: a mapping of sides belongs to modality: {PAIR}; give one name.")
    encoder = find(chosen.get("encoder", "default"), modality)
    known = {*encoder.options, *encoder.extras}
    for key in chosen["options"]:
        if key not in known:
            raise suggest(key, [*KINDS, *known], f"key (for encoder {encoder.name!r})")
