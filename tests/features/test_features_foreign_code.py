"""A model folder of a stranger is data: what it names to be imported is refused in one sentence, and never runs."""

import json
import os
import shutil
import sys
import types

import pytest
import torch
from features_helpers import make_tiny_audio, make_tiny_bert, make_tiny_clip, make_tiny_vit

from utils.errors import CourseError
from utils.features.encoders import audio, weights
from utils.features.registry import find

# Runs when it is imported; the classes are those that the loaders would ask for.
EVIL = """
from pathlib import Path
Path({marker!r}).write_text("this ran")
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig
class Evil(PretrainedConfig):
    pass
"""
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Part", "type": "sentence_transformers.models.Pooling"},
]
POOLING = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
SETTINGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json")
FAMILIES = {
    "st": ("textual", make_tiny_bert),
    "hf": ("textual", make_tiny_bert),
    "hf-clip": ("visual", make_tiny_clip),
    "hf-clip ": ("textual", make_tiny_clip),  # the same family, its other side
    "hf-vision": ("visual", make_tiny_vit),
    "hf-audio": ("audio", make_tiny_audio),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of each kind, made once: maker -> folder."""
    made = {}
    for _, maker in FAMILIES.values():
        if maker not in made:
            made[maker] = tmp_path_factory.mktemp(maker.__name__)
            maker(made[maker])
    return made


@pytest.fixture
def bad(models, tmp_path, monkeypatch):
    """bad(family) -> a copy of the model with code in it; leaving the test, the code must not have run."""
    marker = tmp_path / "marker"
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))  # as a package that pip put there
    sys.modules.pop("evil_package", None)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules_cache"))

    def make(family):
        folder = shutil.copytree(models[FAMILIES[family][1]], tmp_path / "model")
        code = EVIL.format(marker=str(marker))
        for path in (folder / "evil_mod.py", tmp_path / "installed" / "evil_package.py"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(code, encoding="utf-8")
        if family == "st":
            put(folder / "modules.json", MODULES)
            put(folder / "1_Part" / "config.json", POOLING)
        return folder

    yield make
    assert not marker.exists(), "the folder's code ran"


def put(path, settings):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")


def change(path, **settings):
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    put(path, {**old, **settings})


def load(family, folder):
    """Load the network as an extraction does: the weights' name first, then the network."""
    modality, _ = FAMILIES[family]
    encoder = find(f"{family.strip()}:{folder}", modality)
    options = encoder.settle({})
    encoder.weights_id(options)
    return encoder.network(encoder.layers[0], options)


def refused(family, folder, words):
    with pytest.raises(CourseError, match=words) as caught:
        load(family, folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_folders_without_code_load(bad, family):
    folder = bad(family)
    (folder / "evil_mod.py").unlink()
    assert load(family, folder).encode


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", ["evil_mod.Evil", "owner/repo--evil_mod.Evil"])
def test_an_auto_map_is_refused_without_a_question(bad, family, name, value):
    folder = bad(family)
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "AutoFeatureExtractor")
    change(folder / name, auto_map={each: value for each in classes}, model_type="evil")
    refused(family, folder, rf"{name} names .*evil_mod.Evil \(auto_map\).*runs no code of a model; choose")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loaders_are_told_to_trust_nobody(bad, family, monkeypatch):
    folder = bad(family)
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "AutoFeatureExtractor")
    change(folder / "config.json", auto_map=dict.fromkeys(classes, "evil_mod.Evil"), model_type="evil")
    for module in (weights, audio):  # as if the check had overlooked it
        monkeypatch.setattr(module, "refuse_code", lambda *_: None)
    with pytest.raises((ValueError, CourseError), match="custom code|code of its own"):
        load(family, folder)


@pytest.mark.parametrize("kind", ["evil_mod.Evil", "evil_package.Evil", "evil_mod", "sentence_transformers_evil.Evil"])
def test_a_foreign_module_type_is_refused(bad, kind):
    folder = bad("st")
    put(folder / "modules.json", [{**MODULES[0], "type": kind}])
    refused("st", folder, rf"modules\.json names {kind} \(type\)")


def test_a_thing_that_a_library_module_imported_is_no_class_of_the_library(bad):
    folder = bad("st")
    put(folder / "modules.json", [{**MODULES[0], "type": "sentence_transformers.SentenceTransformer.os"}])
    refused("st", folder, "names sentence_transformers.SentenceTransformer.os")


@pytest.mark.parametrize("name", ["router_config.json", "config.json"])
@pytest.mark.parametrize("kind", ["evil_mod.Evil", "evil_package.Evil"])
def test_a_router_names_no_foreign_class(bad, name, kind):
    folder = bad("st")
    router = {"types": {"0_Evil": kind}, "structure": {"query": ["0_Evil"]}, "parameters": {}}
    (folder / "1_Part" / "config.json").unlink()
    put(folder / "1_Part" / name, router)
    router_class = (
        "sentence_transformers.models.Router" if name == "router_config.json" else "sentence_transformers.models.Asym"
    )
    put(folder / "modules.json", [MODULES[0], {**MODULES[1], "type": router_class}])
    refused("st", folder, rf"{name} names {kind} \(types\)")


@pytest.mark.parametrize(
    ("module", "name", "settings"),
    [
        ("WordEmbeddings", "wordembedding_config.json", {"tokenizer_class": "evil_package.Evil"}),
        ("Dense", "config.json", {"in_features": 16, "out_features": 4, "activation_function": "evil_package.Evil"}),
    ],
)
def test_a_module_names_no_foreign_class_in_its_own_settings(bad, module, name, settings):
    folder = bad("st")
    put(folder / "1_Part" / name, settings)
    put(folder / "modules.json", [MODULES[0], {**MODULES[1], "type": f"sentence_transformers.models.{module}"}])
    refused("st", folder, rf"{name} names evil_package.Evil \((tokenizer_class|activation_function)\)")


@pytest.mark.parametrize("family", ["st", "hf", "hf-audio"])
def test_a_setting_that_asks_for_trust_and_an_adapter_are_refused(bad, family):
    folder = bad(family)
    change(folder / "sentence_bert_config.json", model_args={"trust_remote_code": True})
    refused(family, folder, r"sentence_bert_config\.json names True \(trust_remote_code\)")
    change(folder / "sentence_bert_config.json", model_args={"trust_remote_code": False})
    put(
        folder / "adapter_config.json",
        {"base_model_name_or_path": "x", "auto_mapping": {"parent_library": "evil_package"}},
    )
    refused(family, folder, "makes it an adapter, which names another model")


def test_a_module_lies_inside_the_folder(bad, tmp_path):
    folder = bad("st")
    put(tmp_path / "outside" / "router_config.json", {"types": {"0": "evil_mod.Evil"}, "structure": {}})
    for place in ("../outside", str(tmp_path / "outside")):
        put(folder / "modules.json", [MODULES[0], {**MODULES[1], "path": place}])
        refused("st", folder, "outside of the folder")
    put(folder / "modules.json", MODULES)
    put(folder / "1_Part" / "router_config.json", {"types": {"../../outside": "sentence_transformers.models.Pooling"}})
    refused("st", folder, "outside of the folder")


def test_a_link_to_a_folder_is_refused(bad, tmp_path):
    folder = bad("st")
    put(tmp_path / "outside" / "config.json", POOLING)
    try:
        (folder / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    refused("st", folder, "linked is a link to a folder")


@pytest.mark.parametrize("text", ["{", "[" * 200_000, "\ufeff{}"])
def test_settings_that_are_no_json_are_named(bad, text):
    folder = bad("hf")
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    refused("hf", folder, r"tokenizer_config\.json is no JSON")


class Marked:
    """What a pickle of a stranger is: a file that does something when it is opened."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_a_bundle_of_torchaudio_reads_tensors_only(tmp_path, monkeypatch):
    """torchaudio is no requirement: a stand-in loads its weights as torch's hub does, which lets a file run code."""
    marker, file = tmp_path / "marker", tmp_path / "bundle.pth"
    torch.save({"weight": Marked(marker)}, file)

    class Bundle:
        sample_rate = 16_000

        def get_model(self):
            return torch.load(file, weights_only=False)

    pipelines = types.SimpleNamespace(EVIL=Bundle(), os=os)
    monkeypatch.setitem(sys.modules, "torchaudio", types.SimpleNamespace(pipelines=pipelines, __version__="1"))
    monkeypatch.setitem(sys.modules, "torchaudio.pipelines", pipelines)
    before = dict(os.environ)
    encoder = find("torchaudio:EVIL", "audio")
    with pytest.raises(CourseError, match="torchaudio:EVIL.*no plain tensors.*runs no code of a model"):
        encoder.network("mean", encoder.settle({}))
    assert not marker.exists() and dict(os.environ) == before
    Bundle.get_model(None)
    assert marker.exists(), "this pickle does nothing, so that the test could not fail"
    with pytest.raises(CourseError, match="Unknown torchaudio bundle 'os'"):
        find("torchaudio:os", "audio").network("mean", {"max_seconds": 1.0})


def test_own_says_that_it_runs_code(tmp_path, monkeypatch):
    from utils.features.encoders import custom

    assert "runs that module" in custom.dotted.__doc__
    (tmp_path / "mine.py").write_text("ran = True\ndef make(): return lambda texts: [[0.0] for _ in texts]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find("own:mine:make", "textual").name and custom.dotted("mine:make")(), "the user's own code does run"
