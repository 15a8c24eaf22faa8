"""Visual encoders: real weights see what is there, floors see what they should, models by name run without a hub."""

import http.server
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from features_helpers import make_dataset
from PIL import Image

from utils.data import load_dataset
from utils.errors import CourseError
from utils.features import extract
from utils.features.encoders import fold, image, pretrained
from utils.files import ROOT, sha256

PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"
SHOP = ROOT / "data" / "sticker_shop"


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy")


def folder_of(folder, pictures):
    """A course folder of given pictures."""
    (folder / "images").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(folder / "images" / f"{name}.png")
    rows = "".join(f"{name}\timages/{name}.png\n" for name in pictures)
    (folder / "items.tsv").write_text("item\timage\n" + rows, encoding="utf-8")
    (folder / "interactions.tsv").write_text(f"user\titem\nu\t{next(iter(pictures))}\n", encoding="utf-8")
    return load_dataset(str(folder))


def cosines(features):
    unit = features.l2().matrix
    return unit @ unit.T


def test_real_photographs_get_plausible_imagenet_classes(tmp_path):
    from torchvision.models import EfficientNet_B0_Weights

    classes = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    photos = folder_of(tmp_path / "photos", {n: Image.open(PHOTOS / f"{n}.jpg") for n in ("china", "flower")})
    logits = extract(photos, "visual", layer="classifier.1", fit="crop", cache=False, progress=False).matrix
    best = [[classes[i] for i in row] for row in np.argsort(-logits, axis=1)[:, :5]]
    assert best[0][0] == "palace"
    assert "daisy" in best[1]


def test_a_mirrored_crop_stays_close_and_another_picture_does_not(tmp_path):
    china, flower = (Image.open(PHOTOS / f"{n}.jpg") for n in ("china", "flower"))
    mirrored = china.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((20, 20, 600, 400))
    photos = folder_of(tmp_path / "photos", {"china": china, "mirrored": mirrored, "flower": flower})
    near = cosines(extract(photos, "visual", cache=False, progress=False))
    assert near[0, 1] > 0.75 > 0.4 > near[0, 2]


def test_lite0_loads_strictly_into_torchvision_and_fusing_changes_nothing():
    from torchvision.models.efficientnet import EfficientNet

    network = image.lite0()
    assert isinstance(network, EfficientNet)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(4.65e6, rel=0.01)
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network.avgpool(network.features(batch)).flatten(1)
        fused = image.listen(image.lite0(), "avgpool", "lite0")(batch)
        middle = image.listen(image.lite0(), "features.4", "lite0")(batch)
        expected = network.features[:5](batch).mean(dim=(2, 3))
    torch.testing.assert_close(fused, whole, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(middle, expected, rtol=1e-3, atol=1e-3)
    names = [name for name, m in network.named_modules() if isinstance(m, torch.nn.SiLU)]
    assert not names, "Lite uses ReLU6 everywhere"


@pytest.mark.parametrize(("kernel", "side", "groups"), [(3, 8, 1), (5, 9, 4), (3, 7, 4)])
def test_a_convolution_takes_the_padding_before_it_over_to_the_bit(kernel, side, groups):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 4, kernel, stride=2, groups=groups)
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(image._SamePad(kernel), conv))
    x = torch.randn(2, 4, side, side)
    expected = traced(x)
    absorbed = fold.absorb_padding(traced)
    assert [node.op for node in absorbed.graph.nodes] == ["placeholder", "call_module", "output"]
    torch.testing.assert_close(absorbed(x), expected, rtol=1e-6, atol=1e-6)


def test_padding_that_a_convolution_cannot_take_over_stays():
    class Odd(torch.nn.Module):
        def __init__(self, conv, **pad):
            super().__init__()
            self.conv, self.pad = conv, pad

        def forward(self, x):
            return self.conv(torch.nn.functional.pad(x, (0, 1, 0, 1), **self.pad))

    x = torch.randn(1, 2, 8, 8)
    plain = torch.nn.Conv2d(2, 2, 3)
    cases = [
        Odd(plain, value=1.0),
        Odd(plain, mode="reflect"),
        Odd(torch.nn.Conv2d(2, 2, 3, padding=1)),
        Odd(torch.nn.Conv2d(2, 2, 3, dilation=2)),
    ]
    for module in cases:
        traced = torch.fx.symbolic_trace(module)
        expected = traced(x)
        assert torch.equal(fold.absorb_padding(traced)(x), expected)
        assert any(node.op == "call_function" for node in traced.graph.nodes), "still there"


def test_a_file_of_weights_is_known_by_the_digits_in_its_name(dataset, tiny_weights, tmp_path, monkeypatch):
    _, path = tiny_weights
    kept = tmp_path / "hub" / "checkpoints" / "shufflenet-0badc0de.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(path.read_bytes())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(pretrained, "weights_url", lambda _: f"http://127.0.0.1:9/{kept.name}")
    with pytest.raises(CourseError, match="has sha256 .* and the publisher states 0badc0de"):
        extract(dataset, "visual", "torchvision:shufflenet_v2_x0_5", size=64, progress=False)
    whole = kept.with_name(f"shufflenet-{sha256(path)[:8]}.pth")
    kept.rename(whole)
    monkeypatch.setattr(pretrained, "weights_url", lambda _: f"http://127.0.0.1:9/{whole.name}")
    assert extract(dataset, "visual", "torchvision:shufflenet_v2_x0_5", size=64, progress=False).dim


def test_stride_two_pads_as_tensorflow_does():
    # TensorFlow's SAME: an input of 8, kernel 3, stride 2 -> 4 outputs, one zero on the right only.
    padded = image._SamePad(3)(torch.ones(1, 1, 8, 8))
    assert padded.shape == (1, 1, 9, 9) and padded[0, 0, 0, 0] == 1 and padded[0, 0, -1, -1] == 0
    assert image._SamePad(5)(torch.ones(1, 1, 8, 8)).shape == (1, 1, 11, 11)


def test_random_cnn_depends_on_its_seed_and_leaves_the_generator_alone(dataset):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    zero, one = (extract(dataset, "visual", "random_cnn", size=64, seed=s, progress=False).matrix for s in (0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.abs(zero - one).max() > 0.1
    assert 0.01 < zero.std() < 100, "the signal neither dies nor explodes"


def test_histogram_sees_colour_and_not_place(tmp_path):
    def patch(colour, left):
        picture = Image.new("RGB", (60, 60), (255, 255, 255))
        picture.paste(colour, (left, 10, left + 20, 30))
        return picture

    shop = folder_of(
        tmp_path / "patches",
        {
            "red-left": patch((200, 30, 30), 5),
            "red-right": patch((200, 30, 30), 33),
            "blue-left": patch((30, 30, 200), 5),
        },
    )
    histogram = extract(shop, "visual", "colour_histogram", cache=False, progress=False)
    np.testing.assert_allclose(histogram.matrix.sum(axis=1), 1, rtol=1e-5)
    near = cosines(histogram)
    assert near[0, 1] > 0.99 and near[0, 2] < 0.1
    pixels = cosines(extract(shop, "visual", "pixels", cache=False, progress=False).centred())
    assert pixels[0, 2] > pixels[0, 1], "pixels see the place"


def test_transparent_parts_are_white_and_have_no_colour(tmp_path):
    solid = Image.new("RGB", (40, 40), (255, 255, 255))
    solid.paste((20, 120, 20), (10, 10, 30, 30))
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste((20, 120, 20, 255), (10, 10, 30, 30))
    shop = folder_of(tmp_path / "clear", {"solid": solid, "clear": clear})
    for encoder in ("pixels", "colour_histogram"):
        first, second = extract(shop, "visual", encoder, cache=False, progress=False).matrix
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_grey_palette_and_wide_pictures_are_read(tmp_path):
    photo = Image.open(PHOTOS / "china.jpg").resize((80, 20))
    kinds = {mode.lower(): photo.convert(mode) for mode in ("L", "P", "RGB", "1")}
    shop = folder_of(tmp_path / "modes", kinds)
    for fit in ("pad", "crop", "stretch"):
        assert extract(shop, "visual", "pixels", fit=fit, cache=False, progress=False).matrix.shape == (4, 768)


@pytest.fixture
def tiny_weights(tmp_path):
    """A small torchvision model with random weights, in a file named as torchvision names its own."""
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    model = shufflenet_v2_x0_5(weights=None).eval()
    plain = tmp_path / "plain.pth"
    torch.save(model.state_dict(), plain)
    named = tmp_path / "served" / f"shufflenet-{sha256(plain)[:8]}.pth"
    named.parent.mkdir()
    plain.rename(named)
    return model, named


def test_a_torchvision_model_with_weights_from_a_file(dataset, tiny_weights):
    model, path = tiny_weights
    features = extract(
        dataset, "visual", "torchvision:shufflenet_v2_x0_5", weights=str(path), size=64, batch_size=4, progress=False
    )
    assert features.dim == 1024 and features.provenance["weights"] == sha256(path)
    picture = image.reader(64, "pad")(dataset.path / "images" / "0.png")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(picture.copy()) / 255 - mean) / std).permute(2, 0, 1)[None]
    model.fc = torch.nn.Identity()
    with torch.inference_mode():
        np.testing.assert_allclose(features.matrix[0], model(batch)[0].numpy(), rtol=1e-3, atol=1e-3)
    other = extract(
        dataset, "visual", "torchvision:shufflenet_v2_x0_5", layer="stage2", weights=str(path), size=64, progress=False
    )
    assert other.dim == 48


def test_a_torchvision_model_from_an_address(dataset, tiny_weights, tmp_path, monkeypatch):
    _, path = tiny_weights
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(pretrained, "weights_url", lambda _: f"http://127.0.0.1:{server.server_port}/{path.name}")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    try:
        served = extract(dataset, "visual", "torchvision:shufflenet_v2_x0_5", size=64, progress=False)
    finally:
        server.shutdown()
        server.server_close()
    file = extract(dataset, "visual", "torchvision:shufflenet_v2_x0_5", weights=str(path), size=64, progress=False)
    np.testing.assert_array_equal(served.matrix, file.matrix)


def test_a_torchvision_model_without_a_network_names_those_that_work(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(pretrained, "weights_url", lambda _: "http://127.0.0.1:9/resnet18-f37072fd.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(
        CourseError, match="'torchvision:resnet18' needs a network.*offline: efficientnet_lite0, random_cnn"
    ):
        extract(dataset, "visual", "torchvision:resnet18", progress=False)


def test_weights_of_another_model_are_refused(dataset, tiny_weights):
    _, path = tiny_weights
    with pytest.raises(CourseError, match="do not fit torchvision's squeezenet1_1"):
        extract(dataset, "visual", "torchvision:squeezenet1_1", weights=str(path), progress=False)
    with pytest.raises(CourseError, match="did you mean IMAGENET1K_V1"):
        extract(dataset, "visual", "torchvision:resnet18", weights="IMAGENET1K_V11", progress=False)


def test_the_layer_before_the_classifier_is_found():
    from torchvision import models

    assert pretrained.penultimate(models.shufflenet_v2_x0_5(weights=None)) == "mean"
    assert pretrained.penultimate(models.squeezenet1_1(weights=None)) == "classifier.0"
    assert pretrained.penultimate(models.mobilenet_v3_small(weights=None)) == "classifier.2"


@pytest.mark.skipif(not (SHOP / "items.tsv").exists(), reason="data/sticker_shop is not built yet")
def test_pictures_of_one_category_are_closer_than_across(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    shop = load_dataset("sticker_shop")
    top = shop.items["category"].str.split("/").str[0].to_numpy()
    chosen = np.flatnonzero((shop.items["image"] != "") & np.isin(top, ["animals", "vehicles", "clothes", "food"]))
    chosen = np.random.default_rng(0).permutation(chosen)[:80]
    some, top = shop.select(items=chosen), top[chosen]
    same, off = top[:, None] == top[None], ~np.eye(len(top), dtype=bool)

    def share(encoder):
        """Mean cosine within minus across, and share of same-category items among the 5 nearest."""
        near = cosines(extract(some, "visual", encoder, size=160, progress=False).centred())
        nearest = np.argsort(-np.where(off, near, -2), axis=1)[:, :5]
        return near[same & off].mean() - near[~same].mean(), np.take_along_axis(same, nearest, axis=1).mean()

    gap, real = share("efficientnet_lite0")
    _, floor = share("random_cnn")
    assert gap > 0.02  # near zero for the random network
    assert real > floor + 0.1
