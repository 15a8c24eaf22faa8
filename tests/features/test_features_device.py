"""Extraction on an accelerator: names are checked before a weight is read, a device changes no key; what a CPU can show."""

import json

import numpy as np
import pytest
import torch
from features_helpers import make_dataset
from torch import nn

from utils import devices
from utils.course import device as course_device
from utils.errors import CourseError
from utils.features import __main__ as command
from utils.features import extract
from utils.features.at_scale.job import Job
from utils.features.at_scale.run import run
from utils.features.at_scale.shards import read_matrix
from utils.features.encoders import image, musicnn
from utils.features.registry import find


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy", n_items=5)


@pytest.fixture
def bare(monkeypatch):
    """A machine without an accelerator."""
    monkeypatch.setattr(devices, "available", lambda: ["cpu"])


@pytest.fixture
def two(monkeypatch):
    """A machine with two accelerators."""
    monkeypatch.setattr(devices, "available", lambda: ["cuda", "cpu"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def pretended(two, monkeypatch):
    """A machine whose "cuda" is the processor: whatever is sent there is counted, and stays."""
    sent = []

    def staying(send):
        def to(self, *where, **options):
            if where and str(where[0]).startswith("cuda"):
                sent.append(type(self).__name__)
                where = where[1:]
            return send(self, *where, **options) if where or options else self

        return to

    for kind in (torch.Tensor, nn.Module):
        monkeypatch.setattr(kind, "to", staying(kind.to))
    return sent


def test_auto_takes_what_is_there_and_a_missing_device_is_one_sentence(bare):
    assert devices.pick_device("auto") == devices.pick_device("cpu") == torch.device("cpu")
    assert course_device() == "cpu"
    with pytest.raises(
        CourseError, match=r"device cuda: this machine has no cuda device.*\(it has cpu\); set device to"
    ):
        devices.pick_device("cuda")
    with pytest.raises(CourseError, match="Unknown device 'gpu'"):
        devices.pick_device("gpu")
    with pytest.raises(CourseError, match="Unknown device 'cpu:1'"):
        devices.pick_device("cpu:1")


def test_one_of_several_devices_is_named_by_its_number(two):
    assert devices.pick_device("auto").type == "cuda" and devices.pick_device("cuda:1").index == 1
    with pytest.raises(CourseError, match=r"device cuda:2: this machine has 2 cuda"):
        devices.pick_device("cuda:2")


def test_a_missing_device_stops_function_command_and_file_before_anything_is_written(bare, dataset, tmp_path, capsys):
    with pytest.raises(CourseError, match="device cuda: this machine has no cuda"):
        extract(dataset, "visual", device="cuda", progress=False)
    out = tmp_path / "out"
    typed = ["extract", str(dataset.path), "--modality", "visual", "--out", str(out), "--quiet", "--device", "cuda"]
    assert command.main(typed) == 1
    assert "error: the command: device cuda: this machine has no cuda device" in capsys.readouterr().err
    file = tmp_path / "job.yml"
    file.write_text(
        f"dataset: {dataset.path.as_posix()}\nmodality: visual\nout: {out.as_posix()}\ndevice: mps\n", encoding="utf-8"
    )
    assert command.main(["extract", "--config", str(file), "--quiet"]) == 1
    assert "job.yml: device mps: this machine has no mps device" in capsys.readouterr().err
    assert not out.exists()
    assert command.main(["extract", "--config", str(file), "--quiet", "--device", "auto"]) == 0  # typed wins
    assert read_matrix(out).provenance["device"] == "cpu"


def test_networks_and_inputs_travel_and_the_vectors_are_those_of_the_processor(dataset, pretended):
    options = find("efficientnet_lite0", "visual").settle({"size": 64})
    here = extract(dataset, "visual", size=64, cache=False, progress=False)
    assert not pretended and here.provenance["device"] == "cpu"
    there = extract(dataset, "visual", size=64, cache=False, progress=False, device="cuda:1")
    assert "EfficientNet" in pretended and "Tensor" in pretended, "network and pictures"
    assert there.provenance["device"] == "cuda:1"
    np.testing.assert_allclose(there.matrix, here.matrix, atol=1e-4 * np.abs(here.matrix).max())
    cut = next(each.cell_contents for each in image.listen(image.lite0(), "avgpool", "x", 64, "cuda").__closure__
               if isinstance(each.cell_contents, torch.fx.GraphModule))  # fmt: skip
    kinds = {type(module).__name__ for module in cut.modules()}
    assert "FusedConv" not in kinds, "the fused convolution is one for processors"
    assert options["size"] == 64
    pretended.clear()
    words = [extract(dataset, "textual", cache=False, progress=False, device=each).matrix for each in ("cpu", "cuda")]
    assert "BertModel" in pretended
    np.testing.assert_allclose(words[0], words[1], atol=1e-5)


def test_musicnn_on_a_device_leaves_the_fast_filters_of_the_processor_behind(pretended):
    patch = np.random.default_rng(0).random((2, 187, 96), dtype=np.float32)
    here, there = musicnn.encode([patch]), musicnn.encode([patch], device="cuda", batch_size=2)
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-4)
    assert pretended.count("MusicNN") == 1 and not musicnn.on_device("cuda").peaks
    assert musicnn.load_musicnn().peaks, "the processor keeps its own"
    musicnn.on_device.cache_clear()


def test_one_cache_and_one_job_for_all_devices(dataset, tmp_path, pretended):
    first = extract(dataset, "visual", "random_cnn", size=64, progress=False, device="cuda")
    again = extract(dataset, "visual", "random_cnn", size=64, progress=False)
    assert again.provenance["n_cached"] == 4 and again.provenance["device"] == ""
    np.testing.assert_array_equal(first.matrix, again.matrix)
    jobs = [
        Job(dataset, "visual", tmp_path / "job", "random_cnn", options={"size": 64}, block=2, device=each)
        for each in ("cuda", "cpu")
    ]
    run(jobs[0], shard=(0, 2), progress=False)
    run(jobs[1], shard=(1, 2), progress=False)  # another machine, without an accelerator
    assert run(jobs[1], shard=(0, 2), progress=False) == []
    command.main(["merge", str(tmp_path / "job")])
    assert read_matrix(tmp_path / "job").provenance["device"] == "cpu, cuda"
    assert "device" not in json.loads((tmp_path / "job" / "parts" / "job.json").read_text(encoding="utf-8"))


def test_floors_compute_on_the_processor_whatever_is_asked(dataset, pretended):
    found = extract(dataset, "visual", "pixels", cache=False, progress=False, device="cuda")
    assert found.provenance["device"] == "cpu" and not pretended


def test_a_batch_that_does_not_fit_is_one_sentence():
    with (
        pytest.raises(CourseError, match="cpu has no room for 512 inputs at once; set batch_size to less"),
        devices.exact(torch.device("cpu"), 512),
    ):
        raise torch.cuda.OutOfMemoryError


def test_full_precision_on_a_device_and_the_setting_given_back():
    before = torch.backends.cudnn.allow_tf32
    with devices.exact(torch.device("cuda"), 1):
        assert torch.backends.cudnn.allow_tf32 is False and torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before
