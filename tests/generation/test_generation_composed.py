"""utils.generation.composed and recolour: hues by hand, what stays, formulas, triplets, towers and Combiner that learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from utils.errors import CourseError
from utils.features.registry import Network
from utils.generation.ask import Asker
from utils.generation.composed import (
    Combiner,
    TwoTower,
    best,
    direction,
    judged,
    train_combiner,
    train_towers,
    weighted,
)
from utils.generation.recolour import (
    HUES,
    colour_in,
    dominant_hue,
    hue_shares,
    in_all_colours,
    nearest_hue,
    recolour,
)


def blocks(*parts, ground=20):
    """A picture of coloured columns on white: (number of columns, (r, g, b))."""
    columns = [np.tile(np.uint8(colour), (16, n, 1)) for n, colour in (*parts, (ground, (255, 255, 255)))]
    return np.concatenate(columns, axis=1)


RED, DARK_RED, BLUE, GREY = (220, 30, 30), (120, 10, 10), (30, 60, 220), (128, 128, 128)


def test_the_nearest_hue_goes_around_the_circle():
    names = list(HUES)
    found = [names[k] for k in nearest_hue(np.array([0, 359, 343, 44, 45, 120, 174, 250, 340]))]
    assert found == ["red", "red", "red", "orange", "yellow", "green", "turquoise", "blue", "pink"]
    assert nearest_hue(np.array([[10.0, 20.0]])).tolist() == [[0, 1]]


def test_a_dominant_hue_needs_one_colour_and_enough_of_it():
    name, middle = dominant_hue(blocks((9, RED), (6, DARK_RED), (3, BLUE)))
    assert name == "red" and abs((middle + 180) % 360 - 180) < 3
    assert dominant_hue(blocks((5, RED), (5, BLUE))) is None and dominant_hue(blocks((9, GREY))) is None
    assert dominant_hue(blocks((1, RED), (19, GREY))) is None and dominant_hue(blocks()) is None
    shares = dict(zip(HUES, hue_shares(blocks((9, RED), (3, BLUE), (5, GREY)))))
    assert shares["red"] == 0.75 and shares["blue"] == 0.25 and not hue_shares(blocks((3, GREY))).any()


def test_another_hue_keeps_saturation_value_ground_and_differences():
    picture = blocks((9, RED), (3, (220, 125, 30)), (3, GREY))
    _, middle = dominant_hue(picture)
    found = recolour(picture, "blue", middle)
    assert dominant_hue(found)[0] == "blue"
    for before, after in ((picture, found), (picture, recolour(picture, "yellow", middle))):
        assert np.abs(before.max(2).astype(int) - after.max(2)).max() <= 1  # value
        assert np.abs(before.min(2).astype(int) - after.min(2)).max() <= 1  # and, with it, saturation
    assert (found[:, 12:] == picture[:, 12:]).all()  # grey and white have no hue
    assert np.abs(recolour(found, "red", HUES["blue"] + middle).astype(int) - picture).max() <= 2
    with pytest.raises(CourseError, match="Unknown colour 'redd'; did you mean red"):
        recolour(picture, "redd", 0.0)


def catalogue(tmp_path, *pictures):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    images = [f"{number}.png" for number in range(len(pictures))] + [""]
    items = pd.DataFrame({"image": images, "title": [f"T{n}" for n in range(len(images))]})
    return SimpleNamespace(items=items, path=tmp_path, name="small")


def test_a_catalogue_in_all_colours_leaves_out_what_has_no_single_hue(tmp_path):
    found = in_all_colours(
        catalogue(tmp_path, blocks((9, BLUE)), blocks((9, GREY)), blocks((9, RED))), ["red", "green"]
    )
    assert found.item_ids.tolist() == [0, 2] and found.titles == ["T0", "T2"]
    assert found.stamps.tolist() == [0, 0, 1, 1] and found.colours.tolist() == [0, 3, 0, 3]
    assert [list(HUES)[k] for k in found.own] == ["blue", "red"]
    assert [dominant_hue(picture)[0] for picture in found.pictures] == ["red", "green", "red", "green"]
    with pytest.raises(CourseError, match="No picture of small has one dominant hue"):
        in_all_colours(catalogue(tmp_path, blocks((9, GREY))))
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(CourseError, match="Cannot read the image .*0.png"):
        in_all_colours(SimpleNamespace(**vars(catalogue(tmp_path)) | {"items": pd.DataFrame({"image": ["0.png"], "title": ["T"]})}))  # fmt: skip


def test_sum_direction_and_combiner_are_their_formulas():
    torch.manual_seed(0)
    v, t, s = (torch.nn.functional.normalize(torch.randn(4, 6), dim=1) for _ in range(3))
    for k in range(4):
        q = 0.3 * v[k] + 0.7 * t[k]
        assert torch.allclose(weighted(v, t, 0.7)[k], q / q.norm(), atol=1e-6)
        q = v[k] + 0.5 * (t[k] - s[k])
        assert torch.allclose(direction(v, t, s, 0.5)[k], q / q.norm(), atol=1e-6)
    assert torch.allclose(weighted(v, t, 0), v, atol=1e-6) and torch.allclose(weighted(v, t, 1), t, atol=1e-6)
    model = Combiner(6)
    with torch.no_grad():
        both = torch.cat([v, t], dim=1)
        g = torch.sigmoid(model.gate(both))
        q = g * v + (1 - g) * t + model.more(both)
        assert torch.allclose(model(v, t), q / q.norm(dim=1, keepdim=True), atol=1e-6)


def test_the_reference_is_never_the_answer_and_the_figures_are_those_of_the_first():
    gallery = torch.eye(5)
    queries, references = gallery[[0, 3, 4]] + 0.1 * gallery[[1, 0, 2]], torch.tensor([0, 3, -1])
    found = best(queries, gallery, references, 3)
    assert found[:, 0].tolist() == [1, 0, 4] and 0 not in found[0].tolist() and found.shape == (3, 3)
    stamps, colours = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 0])
    result = judged(torch.tensor([[1, 2], [0, 2], [2, 4]]), torch.tensor([1, 2, 4]), stamps, colours)
    # first: right; second: stamp 0 in place of 1, colour right; third: stamp 1 in place of 2, colour right
    assert result == pytest.approx({"r@1": 1 / 3, "changed": 1.0, "kept": 1 / 3})


def world(n_stamps=40, n_colours=4, seed=0):
    """Stamps by colours: pictures hold both in 24 numbers, words of a stamp and of a colour in 16."""
    rng = np.random.default_rng(seed)
    stamp, colour = rng.normal(size=(n_stamps, 24)), rng.normal(size=(n_colours, 24))
    name, word = rng.normal(size=(n_stamps, 16)), rng.normal(size=(n_colours, 16))
    s, c = np.repeat(np.arange(n_stamps), n_colours), np.tile(np.arange(n_colours), n_stamps)
    return s, c, np.float32(stamp[s] + colour[c]), np.float32(name[s] + word[c]), np.float32(word)


def test_a_combiner_finds_the_stamp_in_the_colour_and_words_that_say_nothing_do_not():
    s, c, pictures, captions, words = world()
    towers = train_towers(pictures, captions, dim=16, n_steps=150, lr=3e-3)
    same = train_towers(pictures, captions, dim=16, n_steps=150, lr=3e-3)
    with torch.no_grad():
        v, asked = towers(torch.from_numpy(pictures), torch.from_numpy(words))
        assert torch.equal(v, same(torch.from_numpy(pictures), torch.from_numpy(words))[0])
    rows = np.array([(i, j) for i in range(len(s)) for j in range(len(s)) if s[i] == s[j] and c[i] != c[j]])
    new = s[rows[:, 0]] >= 30  # ten stamps are kept out of the lesson
    one, two = (torch.as_tensor(rows[~new, side]) for side in (0, 1))
    ask, answer = (torch.as_tensor(rows[new, side]) for side in (0, 1))
    colours, found = torch.as_tensor(c), {}
    drawn = torch.randint(4, (len(rows),), generator=torch.Generator().manual_seed(0))
    for name, said, asking in (("right", colours[two], colours[answer]), ("shuffled", drawn[~new], drawn[new])):
        model = train_combiner(v[one], asked[said], v[two], n_steps=150, lr=3e-3)
        with torch.no_grad():
            found[name] = judged(best(model(v[ask], asked[asking]), v, ask), answer, torch.as_tensor(s), colours)
    assert found["right"]["r@1"] > 0.7 > 0.5 > found["shuffled"]["r@1"] and found["shuffled"]["changed"] < 0.5


def test_gradients_reach_every_parameter():
    for model, sizes in ((TwoTower(5, 4, 3), (5, 4)), (Combiner(4), (4, 4))):
        generator = torch.Generator().manual_seed(0)
        out = model(*(torch.randn(6, size, generator=generator) for size in sizes))
        out = out if isinstance(out, torch.Tensor) else torch.cat(out)
        (out * torch.linspace(0, 1, out.numel()).view_as(out)).sum().backward()
        for name, weight in model.named_parameters():
            assert weight.grad.abs().max() > 0, name


def test_a_picture_of_ones_own_and_words_are_a_query(tmp_path):
    towers, combiner, seen = TwoTower(3, 4, 6), Combiner(6), []
    gallery = torch.nn.functional.normalize(torch.randn(9, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    look = Network(prepare=str, encode=lambda arrays: np.stack([array.mean((0, 1)) / 255 for array in arrays]))
    read = Network(prepare=str, encode=lambda texts: seen.extend(texts) or np.ones((len(texts), 4)))
    asker = Asker(towers, combiner, gallery, look, read, size=16)
    Image.fromarray(blocks((16, RED), ground=0)).save(tmp_path / "mine.png")
    places, scores = asker.ask(tmp_path / "mine.png", "the same in BLUE, please", 4)
    with torch.no_grad():
        query = combiner(*towers(torch.tensor([RED]) / 255, torch.ones(1, 4)))
    assert seen == ["in blue"] and places.tolist() == best(query, gallery, torch.tensor([-1]), 4)[0].tolist()
    assert scores == pytest.approx((gallery[places] @ query[0]).numpy(), abs=1e-5)
    (tmp_path / "text.png").write_text("no picture")
    for name, words, said in (("mine.png", "in mauve", "'in mauve' names no colour that was learned; write one of red, "),
                              ("mine.png", "red or blue", "names red and blue; ask for one colour at a time"),
                              ("text.png", "in red", "Cannot read the image .*text.png")):  # fmt: skip
        with pytest.raises(CourseError, match=said):
            asker.ask(tmp_path / name, words)
    assert colour_in("Red!") == "red"
