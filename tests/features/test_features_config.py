"""Configurations of extraction: a YAML file and what is typed; what is wrong is one sentence with file, key, remedy."""

import re

import numpy as np
import pytest
from features_helpers import make_dataset

from utils.errors import CourseError
from utils.features import __main__ as command
from utils.features.at_scale.config import jobs_of, read_yaml
from utils.features.at_scale.shards import describe, read_matrix


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "toy", n_items=20)


def lengths():
    return lambda texts: np.array([[len(text), text.count("x")] for text in texts], np.float32)


def test_a_file_and_what_is_typed_make_the_same_matrix(dataset, tmp_path, capsys):
    (tmp_path / "job.yml").write_text(
        f"dataset: {dataset.path.as_posix()}\nbatch_size: 4\njobs:\n"
        f"  - {{modality: image, encoder: pixels, size: 8, out: {(tmp_path / 'a').as_posix()}}}\n"
        f"  - {{modality: text, encoder: 'own:test_features_config:lengths', clean: [lower], out: {(tmp_path / 'b').as_posix()}}}\n",
        encoding="utf-8",
    )
    assert command.main(["extract", "--config", str(tmp_path / "job.yml"), "--quiet", "--dtype", "float16"]) == 0
    typed = ["extract", str(dataset.path), "--modality", "visual", "--encoder", "pixels", "--set", "size=8"]
    assert (
        command.main([*typed, "--out", str(tmp_path / "c"), "--dtype", "float16", "--batch-size", "4", "--quiet"]) == 0
    )
    assert (tmp_path / "a" / "visual.npy").read_bytes() == (tmp_path / "c" / "visual.npy").read_bytes()
    assert read_matrix(tmp_path / "b").provenance["cleaning"] == ["lower"]
    assert command.main(["export", str(tmp_path / "a"), str(tmp_path / "d"), "--layout", "safetensors"]) == 0
    np.testing.assert_array_equal(read_matrix(tmp_path / "d").matrix, read_matrix(tmp_path / "a").matrix)
    said = capsys.readouterr().out
    assert "visual.npy: 20 rows x 192 (float16), 19 present" in said and "192 numbers each" in said
    assert describe(tmp_path / "d").endswith("visual.safetensors: 20 rows x 192 (F32), 19 present")


BASE = "dataset: {data}\nmodality: visual\nencoder: pixels\nout: {out}\n"
BAD = {
    "encodr: pixels\nmodality: visual\nout: x\ndataset: {data}\n": r"bad\.yml: Unknown key .* 'encodr'; did you mean encoder",
    BASE + "batchsize: 3\n": r"bad\.yml: Unknown key \(for encoder 'pixels'\) 'batchsize'; did you mean batch_size",
    BASE + "batch_size: many\n": r"bad\.yml, key batch_size: 'many' is not a whole number; correct it",
    BASE + "batch_size: true\n": r"key batch_size: True is not a whole number",
    BASE + "batch_size: 0\n": r"bad\.yml: batch_size is 0; give a whole number from 1",
    BASE + "dtype: float64\n": r"Unknown dtype 'float64'; did you mean float",
    BASE + "out: y\n": r"bad\.yml, line 5: the key 'out' stands twice; keep one",
    BASE + "layers: [rgb, rgb]\n": r"name one of them twice",
    BASE + "layer: rgbb\n": r"did you mean rgb",
    BASE + "fusion: sum\n": r"fusion: sum joins image and text; set modality: image_text",
    BASE + "clean: plain\n": r"language and clean are for text",
    BASE + "source: interactions\n": r"source: interactions reads reviews",
    BASE + "jobs: visual\n": r"key jobs: give a list of settings",
    BASE + "jobs:\n  - out: z\n  - out: z\n": r"key out: two jobs write to z",
    BASE + "fit: [pad\n": r"bad\.yml, line \d+, column \d+: no YAML",
    BASE + "3: x\n": r"the key 3 is no word",
    "modality: visual\nout: x\n": r"bad\.yml: the key 'dataset' is missing; add dataset",
    "dataset: nowhere_at_all\nmodality: visual\nout: x\n": r"bad\.yml: .*nowhere_at_all",
    "dataset: {data}\nmodality: visuals\nout: x\n": r"bad\.yml: Unknown modality 'visuals'; did you mean visual",
    "dataset: {data}\nmodality: visual\nout: x\nencoder: own:no_such_module:f\n": r"No module named 'no_such_module'; run from",
    "dataset: {data}\nmodality: visual\nout: x\nencoder: own:json:lods\n": r"Unknown name in json 'lods'; did you mean load",
    "- 1\n": r"bad\.yml holds no settings; begin with dataset",
    "out: !!python/object/apply:os.system ['x']\n": r"bad\.yml, line 1.*no YAML",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_configuration_is_one_sentence_with_file_key_and_remedy(dataset, tmp_path, text, capsys):
    path = tmp_path / "bad.yml"
    path.write_text(text.replace("{data}", dataset.path.as_posix()).replace("{out}", (tmp_path / "o").as_posix()))
    assert command.main(["extract", "--config", str(path), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert re.search(BAD[text], said), said


def test_bad_shards_and_options_are_refused(dataset, tmp_path, monkeypatch, capsys):
    typed = ["extract", str(dataset.path), "--modality", "visual", "--encoder", "pixels", "--out", str(tmp_path / "o")]
    for extra, message in (
        (["--shard", "2/2"], "Shard 2/2 does not exist; i runs from 0 to n - 1"),
        (["--shard", "1"], "write i/n"),
        (["--set", "size"], "write OPTION=VALUE"),
    ):
        assert command.main([*typed, *extra]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setenv("RANK", "x")
    assert command.main(typed) == 1 and "no whole numbers" in capsys.readouterr().err
    with pytest.raises(CourseError, match="does not exist"):
        read_yaml(tmp_path / "none.yml")
    with pytest.raises(CourseError, match="the key 'modality' is missing; is 'modalty' meant for it"):
        jobs_of({"dataset": str(dataset.path), "modalty": "visual", "out": "x"})


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)
HOSTILE = {
    "a nest": "dataset: " + "[" * 20_000,
    "a nest of blocks": "".join(" " * k + f"k{k}:\n" for k in range(120)),
    "aliases": BOMB + "dataset: *a8\n",
    "an alias of itself": "dataset: &a [*a]\n",
    "many values": "dataset: [" + "x, " * 20_000 + "x]\n",
    "a book": "dataset: " + "x" * 1_100_000 + "\n",
    "a long word": "dataset: sticker_shop\nout: b\nmodality: " + "x" * 200_000 + "\n",
    "a wrong long list": "dataset: sticker_shop\nout: b\nmodality: [" + "abcdefgh, " * 9_000 + "]\n",
}


WHY = {
    "a nest": "nested more than 40 levels deep",
    "a nest of blocks": "nested more than 40 levels deep",
    "aliases": "stands for more than 10,000 values",
    "an alias of itself": "stands for more than 10,000 values",
    "many values": "stands for more than 10,000 values",
    "a book": "1,100,010 letters are too many",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_nest_or_a_bomb_of_aliases_is_one_short_sentence(tmp_path, kind):
    """Before anything is built of it: a nest takes seconds and ends in a traceback, a bomb fills the memory when printed."""
    path = tmp_path / "job.yml"
    path.write_text(HOSTILE[kind], encoding="utf-8")
    with pytest.raises(CourseError) as caught:
        jobs_of(read_yaml(path), str(path))
    assert len(str(caught.value)) <= 2100 and "\n" not in str(caught.value)
    assert WHY.get(kind, "job.yml") in str(caught.value)


def test_a_typed_option_may_be_a_nest_too(tmp_path, capsys):
    arguments = [
        "extract",
        "sticker_shop",
        "--modality",
        "visual",
        "--out",
        str(tmp_path),
        "--set",
        "size=" + "[" * 9000,
    ]
    assert command.main(arguments) == 1 and "the value cannot be read" in capsys.readouterr().err[-300:]


def test_an_alias_that_means_little_is_read(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text("dataset: &name sticker_shop\nout: *name\n", encoding="utf-8")
    assert read_yaml(path) == {"dataset": "sticker_shop", "out": "sticker_shop"}
