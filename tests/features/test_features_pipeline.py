"""Jobs: several layers in one pass, shards, kills and resumes, merges that refuse."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from features_helpers import draw, make_dataset, read_files
from torch import nn

from utils.errors import CourseError
from utils.features import __main__ as command
from utils.features import extract
from utils.features.at_scale.job import Job
from utils.features.at_scale.run import run
from utils.features.at_scale.shards import merge, read_matrix
from utils.features.encoders import custom, image
from utils.files import ROOT

STOPPING = """
import os
import time
import numpy as np
import torch
from utils.features import Network

def factory():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 16)

    calls = []

    def encode(texts):
        calls.append(len(texts))
        if len(calls) > int(os.environ.get("STOP_AFTER", 1000)):
            time.sleep(900)  # until it is killed
        x = torch.tensor([[float(ord(c) % 17) for c in (text * 64)[:64]] for text in texts])
        with torch.inference_mode():
            return layer(x).numpy()

    return Network(prepare=str, encode=encode, order=len)
"""


def net():
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 6, 1), nn.ReLU()]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "toy", n_items=20)


def job(dataset, out, **settings):
    return Job(dataset, "visual", out, **{"encoder": "pixels", "block": 3, "batch_size": 2, **settings})


def go(given, shard=(0, 1)):
    return run(given, shard, progress=False)


# --- layers ----------------------------------------------------------------------------------------------------------


def test_several_layers_come_from_one_forward_pass(dataset, tmp_path, monkeypatch):
    passes = []
    ours = image.listen

    def spying(*given):
        forward = ours(*given)
        return lambda batch: passes.append(len(batch)) or forward(batch)

    monkeypatch.setattr(custom, "listen", spying)
    layers = ("1", "4", "6")
    folders = go(job(dataset, tmp_path / "out", encoder=net(), layers=layers, options={"size": 32}))
    assert [folder.name for folder in folders] == list(layers)
    # 19 pictures of 20 items, blocks of 3, batches of 2: each picture once, not once per layer
    assert sum(passes) == 19
    several = [read_matrix(folder).matrix for folder in folders]
    assert [matrix.shape for matrix in several] == [(20, 4), (20, 6), (20, 6)]
    for layer, matrix in zip(layers, several):
        (alone,) = go(job(dataset, tmp_path / f"only-{layer}", encoder=net(), layers=layer, options={"size": 32}))
        np.testing.assert_allclose(read_matrix(alone).matrix, matrix, atol=1e-5)


def test_layers_of_text_and_sound_encoders_come_together(dataset, tmp_path, monkeypatch):
    from utils.features.encoders import musicnn
    from utils.features.registry import find

    folders = go(Job(dataset, "textual", tmp_path / "t", layers=("mean", "hidden.2")))
    for folder, layer in zip(folders, ("mean", "hidden.2")):
        alone = extract(dataset, "textual", layer=layer, cache=False, progress=False)
        np.testing.assert_allclose(read_matrix(folder).matrix, alone.matrix, atol=1e-5)
    network = find("musicnn", "audio").load(("taggram", "pool"), max_seconds=9)
    patches = [musicnn.patches(np.sin(np.arange(9000) / k).astype(np.float32)) for k in (3, 9)]
    both = network.encode(patches)
    assert [x.shape for x in both] == [(2, 50), (2, 1506)]
    np.testing.assert_allclose(both[0], musicnn.encode(patches, "taggram"), atol=1e-6)


def test_the_fast_network_is_the_network(tmp_path):
    from torchvision.models import mobilenet_v2, resnet18

    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for make, layers in ((mobilenet_v2, ("features.1", "features.18")), (resnet18, ("layer1", "avgpool"))):
        torch.manual_seed(0)
        network = image._settle_norms(make(weights=None))
        with torch.inference_mode():
            fast = image.listen(network, layers, "x")(batch)
            x = network.features if make is mobilenet_v2 else None
            if x is not None:
                expected = [x[:2](batch).mean(dim=(2, 3)), x(batch).mean(dim=(2, 3))]
            else:
                stem = network.maxpool(network.relu(network.bn1(network.conv1(batch))))
                expected = [network.layer1(stem).mean(dim=(2, 3))]
        for found, true in zip(fast, expected):
            torch.testing.assert_close(found, true, rtol=1e-3, atol=1e-3 * float(true.abs().max()))


def test_batch_norms_are_folded_also_inside_torchvision_blocks_and_a_failing_operator_costs_nothing(monkeypatch):
    from utils.features.encoders import fold

    graph = fold.fold_batchnorm(image._traced(image.lite0_network(), ["avgpool"]))
    kinds = [type(dict(graph.named_modules())[n.target]) for n in graph.graph.nodes if n.op == "call_module"]
    assert nn.BatchNorm2d not in kinds and kinds.count(nn.Conv2d) == 49
    batch = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = net()
    with torch.inference_mode():
        expected = module[:5](batch).mean(dim=(2, 3))
        torch.testing.assert_close(image.listen(module, "4", "x")(batch), expected)
        monkeypatch.setattr(fold, "FusedConv", lambda *_: 1 / 0)
        torch.testing.assert_close(image.listen(module, "4", "x")(batch), expected)


def test_the_fast_views_of_musicnn_are_the_plain_ones():
    from utils.features.encoders import musicnn

    model = musicnn.load_musicnn()
    x = 3 * torch.rand(2, 1, 187, 96, generator=torch.Generator().manual_seed(0))
    assert len(model.peaks) == len(model.timbral) == 2
    with torch.inference_mode():
        for fast, block in zip(model.peaks, model.timbral):
            assert (fast.sign < 0).any() and (fast.sign > 0).any(), "both directions are tried"
            plain = block(x).amax(dim=3)
            torch.testing.assert_close(fast(x), plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


# --- preprocessing ---------------------------------------------------------------------------------------------------


def test_preprocessing_is_what_it_says_and_the_default_keeps_its_key(dataset, tmp_path):
    flat = nn.Sequential(nn.Identity(), nn.Flatten())
    pictures = image.reader(32, "pad")(dataset.path / "images" / "0.png").astype(np.float64).transpose(2, 0, 1) / 255
    mean, std = (np.array(v).reshape(3, 1, 1) for v in image.IMAGENET)
    span = pictures.max() - pictures.min()
    cases = {
        "none": pictures,
        "zscore": (pictures - mean) / std,
        "model": (pictures - mean) / std,
        "minmax": (pictures - pictures.min()) / span,
    }
    for name, expected in cases.items():
        options = {"size": 32, "normalise": name}
        (folder,) = go(job(dataset, tmp_path / name, encoder=flat, layers="1", options=options))
        np.testing.assert_allclose(read_matrix(folder).matrix[0], expected.reshape(-1), atol=1e-5)
    own = {"size": 32, "normalise": "zscore", "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder,) = go(job(dataset, tmp_path / "own", encoder=flat, layers="1", options=own))
    np.testing.assert_allclose(read_matrix(folder).matrix[0], (pictures.reshape(-1) - 0.5) / 0.5, atol=1e-5)
    from utils.features.registry import find

    lite = find("efficientnet_lite0", "visual")
    assert lite.settle({"normalise": "model"}) == lite.settle({}) == {"size": 224, "fit": "pad"}
    with pytest.raises(CourseError, match="did you mean zscore"):
        image.normaliser("zcore", None, None, (0, 1))
    with pytest.raises(CourseError, match="mean and std are for normalise: zscore"):
        image.normaliser("minmax", [1, 1, 1], None, (0, 1))


# --- shards and resumes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 9])
def test_shards_in_any_order_give_the_bits_of_one_process(dataset, tmp_path, count):
    (alone,) = go(job(dataset, tmp_path / "one", encoder=net(), layers="4", options={"size": 32}))
    for index in reversed(range(count)):
        given = job(dataset, tmp_path / "many", encoder=net(), layers="4", options={"size": 32})
        assert go(given, (index, count)) == []
    (merged,) = merge(tmp_path / "many")
    for name in ("visual.npy", "items.txt", "visual_mask.npy", "visual.json"):
        assert (merged / name).read_bytes() == (alone / name).read_bytes(), name


def environment(folder):
    paths = [str(ROOT), str(folder)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_two_processes_one_of_them_killed_and_resumed_give_the_same_bits(dataset, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stopping_encoder.py").write_text(STOPPING, encoding="utf-8")
    arguments = ["extract", str(dataset.path), "--modality", "textual", "--encoder", "own:stopping_encoder:factory"]
    arguments += ["--block", "1", "--quiet", "--out", str(tmp_path / "two")]
    start = [sys.executable, "-m", "utils.features", *arguments]
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    stopping = {**environment(tmp_path), "STOP_AFTER": "3"}
    first = subprocess.Popen([*start, "--shard", "0/2"], env=stopping, **options)
    # the second gets its shard as torchrun gives it
    torchrun = {**environment(tmp_path), "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    second = subprocess.Popen(start, env=torchrun, **options)
    parts = tmp_path / "two" / "parts"
    owner = {f"part-{number:06d}" for number in range(0, 20, 2)}
    done, deadline = [], time.monotonic() + 900
    while len(done) < 3 and first.poll() is None and time.monotonic() < deadline:
        done = [p.name for p in parts.glob("part-*.npz") if p.name[:11] in owner] if parts.exists() else []
        time.sleep(0.02)
    first.kill()
    first.communicate()
    assert len(done) == 3, "killed in the middle"
    said = second.communicate(timeout=900)[1].decode(errors="replace")
    assert second.returncode == 0, said
    with pytest.raises(CourseError, match="lacks 1 of 2 shards: 0/2; run them with --shard"):
        merge(tmp_path / "two")
    before = {p.name: p.stat().st_mtime_ns for p in parts.glob("part-*.npz")}
    (tmp_path / "stopping_encoder.py").touch()  # the same content: the same key
    assert command.main([*arguments, "--shard", "0/2"]) == 0
    after = {p.name: p.stat().st_mtime_ns for p in parts.glob("part-*.npz")}
    assert len(after) == 20 and all(after[name] == moment for name, moment in before.items()), "nothing computed twice"
    assert command.main(["merge", str(tmp_path / "two")]) == 0
    assert command.main([*arguments[:-1], str(tmp_path / "one")]) == 0
    for name in ("textual.npy", "items.txt", "textual_mask.npy"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_an_interruption_keeps_whole_blocks_and_a_torn_one_is_made_again(dataset, tmp_path):
    made = []

    def stop(path):
        made.append(path)
        if len(made) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job(dataset, tmp_path / "out"), (0, 1), progress=False, after_part=stop)
    assert len(list((tmp_path / "out" / "parts").glob("part-*.npz"))) == 3
    made[1].write_bytes(made[1].read_bytes()[:100])
    (folder,) = go(job(dataset, tmp_path / "out"))
    (whole,) = go(job(dataset, tmp_path / "whole"))
    assert (folder / "visual.npy").read_bytes() == (whole / "visual.npy").read_bytes()


def test_a_changed_picture_is_computed_anew_and_only_its_block(dataset, tmp_path):
    (folder,) = go(job(dataset, tmp_path / "out"))
    before, parts = read_matrix(folder).matrix, set((tmp_path / "out" / "parts").glob("part-*.npz"))
    draw(dataset.path / "images" / "7.png", 99)
    after = read_matrix(go(job(dataset, tmp_path / "out"))[0]).matrix
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [7]
    assert len(set((tmp_path / "out" / "parts").glob("part-*.npz")) - parts) == 1


def test_a_picture_that_cannot_be_read_is_masked_and_named(dataset, tmp_path):
    (dataset.path / "images" / "7.png").write_bytes(b"text")
    (dataset.path / "images" / "8.png").unlink()
    with pytest.warns(UserWarning, match=r"2 visual content.*7\.png \(row 8, item 'item-s'\)"):
        (folder,) = go(job(dataset, tmp_path / "out"))
    features = read_matrix(folder)
    assert np.flatnonzero(~features.mask).tolist() == [3, 7, 8] and len(features.provenance["unreadable"]) == 2
    with pytest.raises(CourseError, match=r"Cannot read 7\.png"):
        go(job(dataset, tmp_path / "strict", on_error="raise"))


def test_never_more_than_a_few_batches_are_decoded_at_once(dataset, tmp_path):
    import threading

    from utils.features import Network

    alive, most, lock = 0, 0, threading.Lock()

    def prepare(path):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return path

    def encode(paths):
        nonlocal alive
        time.sleep(0.002)
        with lock:
            alive -= len(paths)
        return np.ones((len(paths), 1), np.float32)

    go(job(dataset, tmp_path / "out", encoder=Network(prepare, encode), batch_size=1, block=64))
    assert most <= 6  # the batch in the network, three waiting, and what the workers hold


def test_merges_that_do_not_fit_are_refused_with_one_sentence(dataset, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(CourseError, match="holds no extraction job"):
        merge(out)
    go(job(dataset, out), (0, 3))
    go(job(dataset, out), (1, 3))
    with pytest.raises(CourseError, match=r"lacks 1 of 3 shards: 2/3; run them"):
        merge(out)
    go(job(dataset, out), (2, 3))
    parts = out / "parts"
    signature = parts / "shard-1-of-3.json"
    copy = parts / "shard-1-of-3 (copy).json"
    copy.write_bytes(signature.read_bytes())
    with pytest.raises(CourseError, match=r"Block 1 is doubled.*delete one of them"):
        merge(out)
    copy.unlink()
    go(job(dataset, out), (0, 2))
    with pytest.raises(CourseError, match="holds doubled work: shards of 2 and of 3"):
        merge(out)
    (parts / "shard-0-of-2.json").unlink()
    go(job(dataset, tmp_path / "alien", dtype="float16"), (1, 3))
    kept = signature.read_bytes()
    signature.write_bytes((tmp_path / "alien" / "parts" / "shard-1-of-3.json").read_bytes())
    with pytest.raises(CourseError, match="is a foreign shard"):
        merge(out)
    signature.write_bytes(kept)
    own = parts / json.loads(kept)["parts"]["1"]
    alien = json.loads((tmp_path / "alien" / "parts" / "shard-1-of-3.json").read_text())["parts"]["1"]
    saved = own.read_bytes()
    own.write_bytes((tmp_path / "alien" / "parts" / alien).read_bytes())
    with pytest.raises(CourseError, match="is a foreign part"):
        merge(out)
    own.unlink()
    with pytest.raises(CourseError, match="is missing, although its shard is finished; run that shard again"):
        merge(out)
    own.write_bytes(saved[:200])
    with pytest.raises(CourseError, match=r"is not a whole \.npz file .*delete it and run that shard again"):
        merge(out)
    own.write_bytes(saved)
    assert merge(out) == [out]


def test_another_job_in_the_same_folder_is_refused(dataset, tmp_path):
    go(job(dataset, tmp_path / "out"), (0, 2))
    with pytest.raises(CourseError, match=r"holds another job \(preprocessing: .*'size': 16.*'size': 8"):
        go(job(dataset, tmp_path / "out", options={"size": 8}), (1, 2))
    fewer = replace(job(dataset, tmp_path / "out"), dataset=dataset.select(items=range(5)))
    with pytest.raises(CourseError, match="holds another job"):
        go(fewer)


def test_what_is_fitted_on_all_rows_has_no_shards(dataset, tmp_path):
    given = Job(dataset, "textual", tmp_path / "out", encoder="tfidf_svd", options={"dim": 4})
    with pytest.raises(CourseError, match="fitted on all rows at once.*without --shard"):
        go(given, (0, 2))
    (folder,) = go(given)
    expected = extract(dataset, "textual", "tfidf_svd", dim=4, cache=False, progress=False)
    np.testing.assert_allclose(read_matrix(folder).matrix, expected.matrix, atol=1e-6)


# --- reviews ---------------------------------------------------------------------------------------------------------


def test_reviews_have_a_row_each_named_by_position_or_pair(dataset, tmp_path):
    table = dataset.interactions
    table["review"] = [f"review number {k} " + "x" * k if k != 4 else "" for k in range(len(table))]
    tell = {"encoder": "own:test_features_pipeline:lengths", "source": "interactions"}
    (folder,) = go(Job(dataset, "textual", tmp_path / "rows", **tell))
    features = read_matrix(folder)
    assert features.item_names.tolist() == [str(k) for k in range(18)] and not features.mask[4]
    (folder,) = go(Job(dataset, "textual", tmp_path / "pairs", ids="pair", **tell))
    named = read_matrix(folder)
    assert named.item_names[0] == f"{table['user'][0]}\t{table['item'][0]}"
    np.testing.assert_array_equal(named.matrix, features.matrix)
    from utils.features.at_scale.layouts import export

    target = export(named, tmp_path / "ducho")
    assert (target / f"{table['user'][0]}__{table['item'][0]}.npy").exists()
    np.testing.assert_array_equal(read_files(target, named.item_names, pair=True)[0], named.matrix)
    twice = {name: [table[name][0], *table[name][[0]], *table[name][2:]] for name in ("user", "item")}
    again = replace(dataset, interactions=table.assign(**twice))
    with pytest.raises(CourseError, match="more than once, so a pair names no row; use ids: row"):
        go(Job(again, "textual", tmp_path / "twice", ids="pair", **tell))


def lengths():
    return lambda texts: np.array([[len(text), text.count("x")] for text in texts], np.float32)


@pytest.mark.parametrize("name", ["job.json", "shard-0-of-1.json"])
def test_a_job_or_shard_that_is_none_is_one_sentence(dataset, tmp_path, name):
    out = tmp_path / "out"
    go(job(dataset, out), (0, 1))
    path = next(out.rglob(name))
    known = json.loads(path.read_text(encoding="utf-8"))
    odd = [{}, [1], None, *({**known, key: value} for key in known for value in (None, 3, "x", [1], {"a": 1}))]
    odd += [{key: value for key, value in known.items() if key != left_out} for left_out in known]
    for content in odd:
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            merge(out)
        except CourseError as error:
            assert "\n" not in str(error)
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(CourseError, match="nested too deeply"):
        merge(out)
