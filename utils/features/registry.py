"""Registry of encoders: what each needs, and where its weights come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from utils.devices import pick_device
from utils.errors import CourseError, suggest
from utils.features.matrix import MODALITIES

DEFAULTS = {"visual": "efficientnet_lite0", "textual": "minilm", "audio": "musicnn"}


@dataclass(frozen=True)
class Network:
    """A loaded encoder: two functions.

    Attributes:
        prepare: one item's content (a Path, or a str for text) -> anything; runs in worker threads beside the network.
            Raises CourseError, OSError or ValueError when the file cannot be read.
        encode: a list of prepared inputs -> float32 (len(list), dim). A row may not depend on the rest of the batch.
        order: a sort key of the raw content (for text its length), so that a batch needs little padding.
    """

    prepare: Callable[[Any], Any]
    encode: Callable[[list[Any]], np.ndarray]
    order: Callable[[Any], int] | None = None


@dataclass(frozen=True)
class Encoder:
    """One row of the registry.

    Attributes:
        load: ``load(layer, **options) -> Network``; the only place where weights are read.
        weights: SHA-256 (or another exact name) of the weights, "" for none; or a function ``weights(**options)`` that
            returns it without loading the network, so that a full cache needs no network at all.
        dim: length of a vector at the first layer; None = known once loaded.
        offline: works without a network.
        licence, source: of the weights, in words.
        layers: names worth asking for, the first is the default; ``any_layer`` allows others.
        options: preprocessing settings with their defaults; they are part of the cache's key.
        whole: the encoder is fitted on all items at once (TF-IDF); ``encode`` then gets one list with everything.
        version: raise it when the code changes what the vectors are.
        extras: further settings, with defaults; they enter the cache's key only when they are set otherwise, so that
            what was computed before they existed is still found.
        many: ``load`` also takes a tuple of layers; ``encode`` then returns a list of arrays, from one forward pass.
        placed: ``load`` also takes ``device``; the others (floors, functions) compute on the processor.
    """

    name: str
    modality: str
    load: Callable[..., Network]
    dim: int | None = None
    offline: bool = True
    licence: str = "none needed"
    source: str = ""
    weights: str | Callable[..., str] = ""
    layers: Sequence[str] = ("output",)
    any_layer: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    version: int = 1
    extras: Mapping[str, Any] = field(default_factory=dict)
    many: bool = False
    placed: bool = False

    def network(self, layer: str | tuple[str, ...], options: Mapping[str, Any], device: str = "cpu") -> Network:
        """Load the network on a device, where the encoder knows devices.

        Raises:
            CourseError: unknown device, or one that this machine lacks; weights that cannot be had.
        """
        where = pick_device(device)
        return self.load(layer, **options, **({"device": str(where)} if self.placed else {}))

    def place(self, device: str) -> str:
        """Where :meth:`network` would compute: the device's name, "cpu" for an encoder that knows none."""
        where = pick_device(device)
        return str(where) if self.placed else "cpu"

    def settle(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults and given options together; an unknown option is refused with the nearest names."""
        known = {**self.options, **self.extras}
        for name in given:
            if name not in known:
                if not known:
                    raise CourseError(
                        f"Encoder {self.name!r} takes no option, so {name!r} cannot be set; leave it out."
                    )
                raise suggest(name, known, f"option of encoder {self.name!r}")
        unusual = {
            name: value for name, value in given.items() if name not in self.extras or value != self.extras[name]
        }
        return {**self.options, **unusual}

    def settle_layer(self, layer: str | None) -> str:
        """The layer asked for, or the default one."""
        if layer is None:
            return self.layers[0]
        if layer not in self.layers and not self.any_layer:
            raise suggest(layer, self.layers, f"layer of encoder {self.name!r}")
        return layer

    def weights_id(self, options: Mapping[str, Any]) -> str:
        """Exact name of the weights, for most their SHA-256."""
        return self.weights(**options) if callable(self.weights) else self.weights


@dataclass(frozen=True)
class Family:
    """Encoders by name, ``prefix:NAME``: ``make(NAME, modality)`` returns the Encoder."""

    prefix: str
    modalities: tuple[str, ...]
    make: Callable[[str, str], Encoder]
    licence: str
    source: str


ENCODERS: dict[str, Encoder] = {}
FAMILIES: dict[str, Family] = {}
CALLABLE: list[Callable[[Any, str], Encoder]] = []  # the last one makes an Encoder of a function, module or Network


def register(name: str, modality: str, **about: Any) -> Callable[[Callable[..., Network]], Callable[..., Network]]:
    """Decorate ``load(layer, **options) -> Network`` to put an encoder in the registry; ``about``: Encoder's fields."""

    def keep(load: Callable[..., Network]) -> Callable[..., Network]:
        ENCODERS[name] = Encoder(name=name, modality=modality, load=load, **about)
        return load

    return keep


def register_family(
    prefix: str, modalities: Sequence[str], licence: str, source: str
) -> Callable[[Callable], Callable]:
    """Decorate ``make(NAME, modality) -> Encoder`` to answer to every ``prefix:NAME``."""

    def keep(make: Callable[[str, str], Encoder]) -> Callable[[str, str], Encoder]:
        FAMILIES[prefix] = Family(prefix, tuple(modalities), make, licence, source)
        return make

    return keep


def named(prefix: str, name: str, modality: str, load: Callable[..., Network], **about: Any) -> Encoder:
    """The Encoder ``prefix:NAME`` of a family; its weights come over a network unless ``about`` says otherwise."""
    usual = {"offline": False, "licence": "the model's own", "placed": True}
    return Encoder(name=f"{prefix}:{name}", modality=modality, load=load, **{**usual, **about})


def layers_of(layer: str | Sequence[str], known: Sequence[str], encoder: str) -> list[str]:
    """The layers asked for as a list; raise with the nearest names when one is not known."""
    wanted = [layer] if isinstance(layer, str) else list(layer)
    for each in wanted:
        if each not in known:
            raise suggest(each, known, f"layer of encoder {encoder!r}")
    return wanted


def offline_names(modality: str) -> list[str]:
    """Encoders of a modality that work without a network."""
    return [name for name, encoder in ENCODERS.items() if encoder.modality == modality and encoder.offline]


def needs_network(name: str, modality: str, reason: object) -> CourseError:
    """Return the error for an encoder whose weights could not be downloaded; it names those that work offline."""
    return CourseError(
        f"Encoder {name!r} needs a network to fetch its weights, and that failed ({reason}); connect and try again, "
        f"give a local folder or file, or use one that works offline: {', '.join(offline_names(modality))}."
    )


def check_modality(modality: str) -> str:
    """Return the modality, or raise with the nearest names."""
    if modality not in MODALITIES:
        raise suggest(modality, MODALITIES, "modality")
    return modality


def find(name: str | Encoder | Callable[..., Any], modality: str) -> Encoder:
    """Return the encoder of that name for that modality; ``"default"`` is the course's choice.

    An Encoder is returned as it is; of a function, module or Network of yours CALLABLE makes one.

    Raises:
        CourseError: no such modality or encoder (nearest names), or it belongs to another modality.
    """
    check_modality(modality)
    if isinstance(name, Encoder):
        return name
    if not isinstance(name, str):
        return CALLABLE[-1](name, modality)
    name = DEFAULTS[modality] if name == "default" else name
    prefix, colon, rest = name.partition(":")
    if colon and prefix in FAMILIES:
        family = FAMILIES[prefix]
        if modality not in family.modalities:
            raise CourseError(f"Encoder {name!r} is {' or '.join(family.modalities)}, not {modality}.")
        return family.make(rest, modality)
    own = [known for known, encoder in ENCODERS.items() if encoder.modality == modality]
    if name not in ENCODERS:
        raise suggest(
            name, [*own, *(f"{p}:NAME" for p, f in FAMILIES.items() if modality in f.modalities)], f"{modality} encoder"
        )
    if name not in own:
        raise CourseError(
            f"Encoder {name!r} is {ENCODERS[name].modality}, not {modality}; {modality} ones: {', '.join(own)}."
        )
    return ENCODERS[name]


def encoder_table(modality: str | None = None) -> pd.DataFrame:
    """The registry as a table: name, modality, default, dim, offline, licence and source of the weights."""
    if modality is not None:
        check_modality(modality)
    rows = [
        (e.name, e.modality, DEFAULTS[e.modality] == e.name, e.dim, e.offline, e.licence, e.source)
        for e in ENCODERS.values()
    ]
    rows += [
        (f"{f.prefix}:NAME", each, False, None, False, f.licence, f.source)
        for f in FAMILIES.values()
        for each in f.modalities
    ]
    table = pd.DataFrame(rows, columns=["name", "modality", "default", "dim", "offline", "licence", "source"])
    table["dim"] = table["dim"].astype("Int64")
    table = table if modality is None else table[table["modality"] == modality]
    order = table["modality"].map(MODALITIES.index)
    return table.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
