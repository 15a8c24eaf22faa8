"""The benchmark: rows, resuming, failures, prepared folders, what is never overwritten."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.lab import accuracy as lab_accuracy
from utils.lab import benchmark as lab_main
from utils.studies import inputs as studies_inputs


@pytest.fixture
def folder(tmp_path):
    """A course folder of two groups of users and items, without any media: 24 users, 30 items."""
    rng = np.random.default_rng(0)
    items = "item\ttitle\n" + "".join(f"i{i:02d}\tItem {i}\n" for i in range(30))
    rows = [
        f"u{user:02d}\ti{item:02d}\n"
        for user in range(24)
        for item in rng.permutation(10)[:7] + 10 * (user % 2)
    ]  # fmt: skip
    data = tmp_path / "mine"
    data.mkdir()
    (data / "items.tsv").write_text(items)
    (data / "interactions.tsv").write_text("user\titem\n" + "".join(rows))
    return data


@pytest.fixture
def prepared(tmp_path):
    """A prepared folder: interactions with a split column and one item graph; no items.tsv, no features."""
    rng = np.random.default_rng(1)
    lines = []
    for user in range(30):
        parts = ["train"] * 5 + ["valid", "test"]
        lines += [f"{user}\t{item + 15 * (user % 2)}\t{part}\n" for item, part in zip(rng.permutation(15), parts)]
    data = tmp_path / "ready"
    data.mkdir()
    (data / "interactions.tsv").write_text("user\titem\tsplit\n" + "".join(lines))
    ring = np.arange(30)
    row, col = np.concatenate([ring, ring]), np.concatenate([ring, (ring + 1) % 30])
    np.savez(data / "item_knn_textual.npz", row=row, col=col, value=np.full(60, 0.5), n_items=30)
    return data


def run(folder, out, models, seeds="0", *more):
    return lab_main.main(
        ["accuracy", "--dataset", str(folder), "--models", models, "--seeds", seeds, "--json", str(out), *more]
    )


def values(out):
    rows = json.loads(out.read_text())["rows"]
    return {(row["model"], row["seed"], row["split"], row["metric"]): row["value"] for row in rows}


def test_rows_meta_and_resuming(folder, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert run(folder, out, "mostpop,itemknn") == 0
    first = json.loads(out.read_text())
    assert set(first["rows"][0]) == {"model", "seed", "split", "metric", "value"}
    assert {row["split"] for row in first["rows"]} == {"valid", "test"}
    metrics = {row["metric"] for row in first["rows"]}
    assert {"recall@20", "recall@10", "ndcg@20", "coverage@20", "aplt@20", "fit_seconds", "peak_mb"} <= metrics
    assert first["meta"]["strategy"] == "random" and "accuracy" in first["meta"]["command"]
    assert values(out)["itemknn", 0, "test", "recall@20"] > values(out)["mostpop", 0, "test", "recall@20"] - 1e-9

    first["rows"][0]["value"] = -1.0  # a mark: what is done is not done again
    out.write_text(json.dumps(first))
    assert run(folder, out, "mostpop,itemknn", "0,1") == 0
    second = json.loads(out.read_text())
    assert second["rows"][0]["value"] == -1.0
    assert {row["seed"] for row in second["rows"]} == {0, 1}
    commands = second["meta"]["commands"]  # both calls made this file
    assert len(commands) == 2 and commands[0] == first["meta"]["command"] != commands[1] == second["meta"]["command"]
    assert "| itemknn | 0, 1 |" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"

    with open(folder / "interactions.tsv", "a") as stream:
        stream.write("u00\ti25\n")
    assert run(folder, out, "mostpop") == 0
    assert -1.0 not in values(out).values()  # changed data: done anew, and the old file is still there
    assert json.loads((tmp_path / "out.set-aside-1.json").read_text())["rows"][0]["value"] == -1.0


def test_a_run_of_older_code_is_done_anew(folder, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    run(folder, out, "mostpop,itemknn")
    content = json.loads(out.read_text())
    next(run for run in content["meta"]["runs"] if run["model"] == "mostpop")["code"] = "of yesterday"
    content["rows"] = [{**row, "value": -1.0} for row in content["rows"]]
    out.write_text(json.dumps(content))
    assert run(folder, out, "mostpop,itemknn") == 0
    assert values(out)["mostpop", 0, "test", "recall@20"] >= 0 > values(out)["itemknn", 0, "test", "recall@20"]
    keys = [(r["model"], r["split"], r["metric"]) for r in json.loads(out.read_text())["rows"]]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("text", ['{"meta": {"dataset": "mine"', "", "[]", '{"meta": 3}'])
def test_a_corrupt_result_file_is_set_aside(folder, tmp_path, capsys, text):
    out = tmp_path / "out.json"
    out.write_text(text)
    assert run(folder, out, "mostpop") == 0
    assert (tmp_path / "out.set-aside-1.json").read_text() == text
    assert "kept as out.set-aside-1.json" in capsys.readouterr().err
    assert ("mostpop", 0, "test", "recall@20") in values(out)


MEASURED = {"seconds", "fit_seconds", "peak_mb"}


def judged(out):
    """The values that do not depend on the machine."""
    return {key: value for key, value in values(out).items() if key[3] not in MEASURED}


def paired(out):
    return json.loads(out.read_text())["tests"]


@pytest.mark.parametrize("damage", ["junk", "empty", "cut", "flipped"])
def test_damaged_values_of_users_are_set_aside_and_their_runs_made_anew(folder, tmp_path, capsys, damage):
    out = tmp_path / "out.json"
    assert run(folder, out, "mostpop,itemknn") == 0
    before, tests = judged(out), paired(out)
    users = out.with_suffix(".users.npz")
    whole = users.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 255]) + whole[101:]
    harmed = {"junk": b"junk", "empty": b"", "cut": whole[: len(whole) // 2], "flipped": flipped}[damage]
    users.write_bytes(harmed)
    capsys.readouterr()
    assert run(folder, out, "mostpop") == 0  # the other one is made anew when it is asked for
    assert (tmp_path / "out.users.set-aside-1.npz").read_bytes() == harmed
    assert "out.users.npz cannot be read: kept as out.users.set-aside-1.npz" in capsys.readouterr().err
    assert run(folder, out, "mostpop,itemknn") == 0
    assert judged(out) == before and paired(out) == tests and len(tests) == 2
    assert not any("users" in each for each in json.loads(out.read_text())["meta"]["runs"])
    with np.load(users) as arrays:
        assert {key.split()[0] for key in arrays} == {"mostpop", "itemknn"}
    assert run(folder, out, "random") == 0 and len(paired(out)) == 4  # every model has its values


def test_paired_tests_outlive_values_of_users_that_are_on_another_machine(folder, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    assert run(folder, out, "mostpop,itemknn") == 0
    before, tests = values(out), paired(out)
    out.with_suffix(".users.npz").unlink()
    monkeypatch.setattr(lab_accuracy, "run_model", lambda *job: 1 / 0)  # nothing is run again
    assert run(folder, out, "mostpop,itemknn") == 0
    assert values(out) == before and paired(out) == tests
    monkeypatch.undo()
    assert run(folder, out, "random") == 0  # a model that is added leaves them, too
    assert len(values(out)) > len(before) and paired(out) == tests
    monkeypatch.setattr(lab_accuracy, "code_hash", lambda name: "changed")
    assert run(folder, out, "mostpop") == 0
    names = {name for test in json.loads(out.read_text())["tests"] for name in (test["a"], test["b"])}
    assert names == {"mostpop", "random"}  # those of itemknn went: its partner was run again, and it has no values here


def command(folder, out, models):
    words = [sys.executable, "-m", "utils.benchmark", "accuracy", "--dataset", folder, "--models", models]
    return [*map(str, words), "--seeds", "0,1", "--json", str(out)]


@pytest.mark.slow
def test_two_commands_on_one_file_lose_no_run_and_no_value_of_a_user(folder, tmp_path):
    out, models = tmp_path / "out.json", ["mostpop,random", "itemknn,bpr"]
    more = {"cwd": ROOT, "stderr": subprocess.PIPE, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    both = [subprocess.Popen(command(folder, out, names), **more) for names in models]
    said = [each.communicate(timeout=600)[1].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    names = [name for part in models for name in part.split(",")]
    content = json.loads(out.read_text())
    wanted = {(name, seed) for name in names for seed in (0, 1)}
    assert {(each["model"], each["seed"]) for each in content["meta"]["runs"]} == wanted
    assert len(content["meta"]["runs"]) == 8 and {(row["model"], row["seed"]) for row in content["rows"]} == wanted
    assert len(content["meta"]["commands"]) == 2
    with np.load(out.with_suffix(".users.npz")) as users:
        assert {tuple(key.split()[:2]) for key in users} == {(name, str(seed)) for name, seed in wanted}
    assert {test["a"] for test in content["tests"]} | {content["tests"][0]["b"]} == set(names)
    assert not [path.name for path in tmp_path.iterdir() if "running" in path.name or "lock" in path.name]
    assert run(folder, tmp_path / "alone.json", ",".join(names), "0,1") == 0
    assert judged(tmp_path / "alone.json") == judged(out) and len(paired(out)) == len(paired(tmp_path / "alone.json"))


def test_the_checkpoint_of_another_process_stays(folder, tmp_path):
    other, stale = (tmp_path / f"out.running-{name}-0-{'0' * 12}.pt" for name in ("bpr", "itemknn"))
    for path in (other, stale):
        path.write_bytes(b"state")
    assert run(folder, tmp_path / "out.json", "mostpop,itemknn") == 0
    assert other.exists() and not stale.exists()


def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_anew(folder, tmp_path, monkeypatch, capsys):
    out, real = tmp_path / "out.json", lab_accuracy.run_model

    def damaged(*job):
        if not seen:
            job[-1].write_bytes(b"no checkpoint")
        seen.append(job[-1])
        return real(*job)

    seen = []
    monkeypatch.setattr(lab_accuracy, "run_model", damaged)
    assert run(folder, out, "bpr") == 0
    aside = seen[0].with_name(f"{seen[0].stem}.set-aside-1.pt")
    assert aside.read_bytes() == b"no checkpoint" and f"kept as {aside.name}" in capsys.readouterr().err
    assert seen[0] == seen[1] and not seen[0].exists()
    monkeypatch.undo()
    assert run(folder, tmp_path / "whole.json", "bpr") == 0
    assert judged(out) == judged(tmp_path / "whole.json")


def test_failures_of_an_earlier_call_go_and_those_of_another_process_stay(folder, tmp_path, monkeypatch):
    out, real = tmp_path / "out.json", lab_accuracy.run_model
    assert run(folder, out, "nobody,mostpop") == 1

    def meanwhile(*job):
        content = json.loads(out.read_text())
        content["meta"]["failures"].append({"model": "vbpr", "seed": 0, "reason": "of another process"})
        out.write_text(json.dumps(content))
        return real(*job)

    monkeypatch.setattr(lab_accuracy, "run_model", meanwhile)
    assert run(folder, out, "noone,itemknn") == 1
    assert [each["model"] for each in json.loads(out.read_text())["meta"]["failures"]] == ["vbpr", "noone"]


def test_a_model_that_fails_is_named_and_the_others_stay(folder, tmp_path, monkeypatch, capsys):
    real = lab_accuracy.run_model

    def failing(name, *args, **kwargs):
        if name == "itemknn":
            raise CourseError("it broke on purpose")
        if name == "bpr":
            raise RuntimeError("not enough memory")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(lab_accuracy, "run_model", failing)
    out = tmp_path / "out.json"
    assert run(folder, out, "itemknn,bpr,mostpop") == 1
    err = capsys.readouterr().err
    assert "itemknn, seed 0: it broke on purpose" in err and "bpr, seed 0: not enough memory" in err
    assert {key[0] for key in values(out)} == {"mostpop"}
    monkeypatch.setattr(lab_accuracy, "run_model", real)
    assert run(folder, out, "itemknn,mostpop") == 0  # tried again
    assert json.loads(out.read_text())["meta"]["failures"] == []


def test_a_loss_that_is_no_number_names_its_epoch_and_keeps_the_rows_of_the_others(
    folder, tmp_path, monkeypatch, capsys
):
    from utils.models.bpr import BPR

    real, calls = BPR.loss, []

    def poisoned(self, *batch):
        calls.append(1)
        return real(self, *batch) * (float("nan") if len(calls) > 2 else 1.0)  # one batch makes an epoch here

    monkeypatch.setattr(BPR, "loss", poisoned)
    out = tmp_path / "out.json"
    assert run(folder, out, "mostpop,bpr,itemknn") == 1
    message = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("bpr, seed 0"))
    assert "the loss of epoch 3 is not a finite number" in message and "learning rate below" in message
    assert {key[0] for key in values(out)} == {"mostpop", "itemknn"}
    assert "failed: bpr, seed 0" in out.with_suffix(".md").read_text()


def test_an_interrupted_run_resumes(folder, tmp_path, monkeypatch, capsys):
    real = lab_accuracy.run_model

    def interrupted(name, *args, **kwargs):
        if name == "itemknn":
            raise KeyboardInterrupt
        return real(name, *args, **kwargs)

    out = tmp_path / "out.json"
    monkeypatch.setattr(lab_accuracy, "run_model", interrupted)
    assert run(folder, out, "mostpop,itemknn") == 130
    assert {key[0] for key in values(out)} == {"mostpop"}
    monkeypatch.setattr(
        lab_accuracy, "run_model", lambda name, *a, **k: real(name, *a, **k) if name == "itemknn" else 1 / 0
    )
    assert run(folder, out, "mostpop,itemknn") == 0
    assert {key[0] for key in values(out)} == {"mostpop", "itemknn"}


def test_an_unknown_model_is_a_failure_with_the_nearest_names(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out.json", "freedomm,mostpop") == 1
    assert "did you mean freedom" in capsys.readouterr().err
    assert {key[0] for key in values(tmp_path / "out.json")} == {"mostpop"}


def test_a_prepared_folder_is_enough(prepared, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert run(prepared, out, "mostpop,itemknn_content,freedom,vbpr") == 1
    assert "vbpr needs features" in capsys.readouterr().err
    content = json.loads(out.read_text())
    assert content["meta"]["strategy"] == "given" and content["meta"]["n_train"] == 150
    runs = {run["model"]: run for run in content["meta"]["runs"]}
    assert set(runs) == {"mostpop", "itemknn_content", "freedom"}
    assert runs["freedom"]["notes"] == ["no features: the loss on features falls away"]
    assert runs["freedom"]["modalities"] == ["textual"]
    assert runs["freedom"]["inputs"]["textual"].startswith("item graph")


def test_features_of_a_prepared_folder_go_before_its_graphs(prepared, tmp_path):
    (prepared / "features").mkdir()
    np.save(prepared / "features" / "audio.npy", np.random.default_rng(0).normal(size=(30, 4)).astype(np.float16))
    _, _, features, graphs = studies_inputs.load(str(prepared), "", None)
    assert set(features) == {"audio"} and not graphs


@pytest.mark.parametrize("part", ["valid", "test", "train"])
def test_an_empty_part_is_named(prepared, tmp_path, capsys, part):
    table = pd.read_csv(prepared / "interactions.tsv", sep="\t")
    table[table["split"] != part].to_csv(prepared / "interactions.tsv", sep="\t", index=False)
    assert run(prepared, tmp_path / "out.json", "mostpop") == 1
    message = capsys.readouterr().err
    assert part in message and "interactions" in message and len(message.splitlines()) == 1


def test_a_user_and_an_item_only_in_test_are_counted(prepared, tmp_path):
    with open(prepared / "interactions.tsv", "a") as stream:
        stream.write("new\t29\ttest\n")
    table = pd.read_csv(prepared / "interactions.tsv", sep="\t", dtype=str)
    table.loc[(table["item"] == "3") & (table["split"] == "train"), "split"] = "test"
    table.to_csv(prepared / "interactions.tsv", sep="\t", index=False)
    out = tmp_path / "out.json"
    assert run(prepared, out, "mostpop,bpr,freedom") == 0
    info = json.loads(out.read_text())["meta"]
    assert info["test_users_without_train"] == 1 and info["items_without_train"] == 1
    assert all(np.isfinite(v) for v in values(out).values())


def test_a_budget_tries_the_same_number_on_validation(folder, tmp_path, monkeypatch):
    from utils.evaluation import protocol

    parts = []
    real = protocol.evaluate
    monkeypatch.setattr(protocol, "evaluate", lambda *a, **k: parts.append(k.get("part", "test")) or real(*a, **k))
    out = tmp_path / "out.json"
    assert run(folder, out, "itemknn", "0,1", "--budget", "3") == 0
    content = json.loads(out.read_text())
    trials = content["meta"]["trials"]
    assert len(trials) == 3 and len({json.dumps(t["settings"], sort_keys=True) for t in trials}) == 3
    best = max(trials, key=lambda trial: trial["recall@20"])
    for one in content["meta"]["runs"]:
        assert best["settings"].items() <= one["settings"].items()
    assert parts.count("test") == 2 and parts.count("valid") >= 5  # one test ranking for each seed


def test_every_model_gets_the_same_budget_and_an_interrupted_search_goes_on(folder, tmp_path, monkeypatch):
    from utils.training import loop

    real, tried = loop.fit, []

    def counted(name, *args, **kwargs):
        tried.append(name)
        if stop and len(tried) == 4:
            raise KeyboardInterrupt
        return real(name, *args, **{**kwargs, **({"n_epochs": 2} if name == "bpr" else {})})

    monkeypatch.setattr(loop, "fit", counted)
    out, stop = tmp_path / "out.json", True
    assert run(folder, out, "itemknn,bpr", "0", "--budget", "2") == 130  # in the first trial of bpr
    assert tried == ["itemknn"] * 3 + ["bpr"]  # two trials and the run that counts
    stop = False
    assert run(folder, out, "itemknn,bpr", "0", "--budget", "2") == 0
    assert tried[4:] == ["bpr"] * 3
    trials = [trial["model"] for trial in json.loads(out.read_text())["meta"]["trials"]]
    assert trials == ["itemknn"] * 2 + ["bpr"] * 2


def test_features_that_do_not_fit_the_items_are_named(folder, prepared, tmp_path, capsys):
    out = tmp_path / "out.json"
    for data in (folder, prepared):
        (data / "features").mkdir()
        np.save(data / "features" / "visual.npy", np.ones((29, 4), dtype=np.float32))
        assert run(data, out, "mostpop,vbpr") == 1
    text = capsys.readouterr().err
    assert "vbpr, seed 0: " in text and "visual.npy has 29 rows but mine has 30 items" in text
    assert "disagree on the number of items (visual.npy: 29, item_knn_textual.npz: 30)" in text  # no dataset at all
    assert {key[0] for key in values(out)} == {"mostpop"}  # needs no features


def test_paired_tests_are_by_user_against_the_best_on_validation(folder, tmp_path):
    out = tmp_path / "out.json"
    run(folder, out, "random,mostpop,itemknn", "0,1")
    content = json.loads(out.read_text())
    valid = {}
    for row in content["rows"]:
        if row["split"] == "valid" and row["metric"] == "recall@20":
            valid.setdefault(row["model"], []).append(row["value"])
    best = max(valid, key=lambda name: np.mean(valid[name]))
    tests = [test for test in content["tests"] if test["metric"] == "recall@20"]
    assert {test["b"] for test in tests} == {best} and len(tests) == 2
    for test in tests:
        means = [
            np.mean([values(out)[name, seed, "test", "recall@20"] for seed in (0, 1)]) for name in (test["a"], best)
        ]
        assert test["difference"] == pytest.approx(means[0] - means[1], abs=1e-4)
        assert test["t_holm"] >= test["t_p"]


def test_the_options_have_the_spellings_of_the_studies_too(folder, tmp_path):
    out = tmp_path / "out.json"
    assert lab_main.main(["accuracy", str(folder), "--models", "mostpop", "--seeds", "3", "--out", str(out)]) == 0
    assert {key[:2] for key in values(out)} == {("mostpop", 3)}  # here a number is that seed


def test_seeds_that_are_no_numbers(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out.json", "mostpop", "0,one") == 1
    assert "--seeds '0,one'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--models", ""], "--models is empty"),
        (["--seeds", ""], "--seeds is empty"),
        (["--budget", "0"], "--budget 0 must be 1 or more"),
        (["--device", "gpu"], "Unknown device 'gpu'"),
        (["--modalities", "textual,audio"], "has no audio features"),
        (["--modelss", "bpr"], "did you mean --models"),
    ],
)
def test_an_option_that_makes_no_sense_is_named_and_nothing_is_written(prepared, tmp_path, capsys, options, words):
    out = tmp_path / "out.json"
    arguments = ["accuracy", "--dataset", str(prepared), "--json", str(out)]
    assert lab_main.main([*arguments, *(["--models", "freedom"] if "--models" not in options else []), *options]) == 1
    message = capsys.readouterr().err
    assert words in message and len(message.splitlines()) == 1 and not out.exists()


def test_a_folder_in_the_place_of_the_result_file_stays_where_it_is(folder, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    assert run(folder, results, "mostpop") == 1
    assert "is a folder" in capsys.readouterr().err and list(tmp_path.glob("results*")) == [results]


@pytest.mark.parametrize("damage", [{"rows": "x"}, {"rows": []}, {"meta": {"runs": [{}]}}, {"meta": {"runs": 3}}])
def test_a_result_file_whose_parts_do_not_fit_is_set_aside(folder, tmp_path, capsys, damage):
    out = tmp_path / "out.json"
    assert run(folder, out, "mostpop") == 0
    content = json.loads(out.read_text())
    content |= {key: {**content[key], **value} if key == "meta" else value for key, value in damage.items()}
    out.write_text(json.dumps(content))
    assert run(folder, out, "mostpop") == 0
    assert "cannot be read: kept as out.set-aside-1.json" in capsys.readouterr().err
    assert ("mostpop", 0, "test", "recall@20") in values(out)


def with_features(folder, matrix):
    (folder / "features").mkdir(exist_ok=True)
    np.save(folder / "features" / "visual.npy", matrix)
    (folder / "features" / "items.txt").write_text("".join(f"i{i:02d}\n" for i in range(len(matrix))))


def test_a_training_that_was_cut_off_goes_on_from_its_last_epoch(folder, tmp_path, monkeypatch):
    from utils.models.bpr import BPR

    assert run(folder, tmp_path / "whole.json", "bpr") == 0
    real, epochs = BPR.begin_epoch, []

    def counting(stop):
        def begin_epoch(self, generator):
            epochs.append(1)
            if len(epochs) == stop:
                raise KeyboardInterrupt
            return real(self, generator)

        return begin_epoch

    out, n_epochs = tmp_path / "out.json", values(tmp_path / "whole.json")["bpr", 0, "valid", "epochs"]
    monkeypatch.setattr(BPR, "begin_epoch", counting(5))
    assert run(folder, out, "bpr") == 130
    assert [path.name[:18] for path in tmp_path.glob("*.pt")] == ["out.running-bpr-0-"]
    epochs.clear()
    monkeypatch.setattr(BPR, "begin_epoch", counting(0))
    assert run(folder, out, "bpr") == 0
    assert len(epochs) == n_epochs - 4  # the four finished ones were kept
    one, two = values(tmp_path / "whole.json"), values(out)
    assert all(two[key] == pytest.approx(value) for key, value in one.items() if key[3] not in MEASURED)
    assert not [path.name for path in tmp_path.iterdir() if "running" in path.name or "lock" in path.name]


def test_features_that_cannot_be_read_stop_only_the_models_that_use_them(folder, tmp_path, capsys):
    with_features(folder, np.ones((30, 4), np.float32))
    (folder / "features" / "visual.npy").write_bytes(b"no array")
    assert run(folder, tmp_path / "out.json", "mostpop,vbpr,bm3") == 1
    message = capsys.readouterr().err
    assert "vbpr, seed 0: " in message and "bm3, seed 0: " in message and "visual.npy" in message
    assert "pickle=" not in message and "allow_pickle" not in message  # NumPy's advice is not ours
    assert {key[0] for key in values(tmp_path / "out.json")} == {"mostpop"}
    assert run(folder, tmp_path / "other.json", "vbpr") == 1


def test_settings_found_on_other_features_are_searched_again(folder, tmp_path, monkeypatch):
    from utils.training import loop

    tried, real = [], loop.fit
    monkeypatch.setattr(loop, "fit", lambda name, *a, **k: tried.append(name) or real(name, *a, **k))
    rng, out = np.random.default_rng(0), tmp_path / "out.json"
    with_features(folder, rng.normal(size=(30, 4)).astype(np.float32))
    assert run(folder, out, "itemknn,itemknn_content", "0", "--budget", "2") == 0
    assert tried == ["itemknn"] * 3 + ["itemknn_content"] * 3  # two trials and the run that counts
    tried.clear()
    with_features(folder, rng.normal(size=(30, 4)).astype(np.float32))
    assert run(folder, out, "itemknn,itemknn_content", "0", "--budget", "2") == 0
    assert tried == ["itemknn_content"] * 3
    assert len(json.loads(out.read_text())["meta"]["trials"]) == 4


def test_the_best_trial_of_the_first_seed_is_not_trained_twice(folder, tmp_path, monkeypatch):
    from utils.models.bpr import BPR

    real, epochs = BPR.begin_epoch, []
    monkeypatch.setattr(BPR, "begin_epoch", lambda *arguments: epochs.append(1) or real(*arguments))
    monkeypatch.setattr(BPR, "SEARCH", {"lr": [1e-2], "reg": [1e-1, 1e-2]})
    out = tmp_path / "out.json"
    assert run(folder, out, "bpr", "0,1", "--budget", "2") == 0
    content, found = json.loads(out.read_text()), values(out)
    best = max(content["meta"]["trials"], key=lambda trial: trial["recall@20"])
    assert best["best_epoch"] == found["bpr", 0, "valid", "best_epoch"]
    assert best["recall@20"] == pytest.approx(found["bpr", 0, "valid", "recall@20"])
    epochs.clear()
    assert run(folder, tmp_path / "one.json", "bpr", "0,1", "--budget", "1") == 0
    plain = len(epochs)
    assert plain == sum(values(tmp_path / "one.json")["bpr", seed, "valid", "epochs"] for seed in (0, 1))
    assert not list(tmp_path.glob("*.pt"))
    epochs.clear()
    assert run(folder, tmp_path / "two.json", "bpr", "0", "--budget", "2") == 0
    trained = len(epochs)
    epochs.clear()
    assert run(folder, tmp_path / "three.json", "bpr", "0,1", "--budget", "2") == 0
    assert len(epochs) - trained == values(tmp_path / "three.json")["bpr", 1, "valid", "epochs"]


def test_a_seed_that_failed_is_named_and_is_in_no_mean_and_no_test(folder, tmp_path, monkeypatch, capsys):
    from utils import stored
    from utils.models.bpr import BPR

    real = BPR.loss

    def loss(self, *ids):  # seed 1 learns nothing
        return real(self, *ids) * (0.0 if self.seed == 1 else 1.0)

    monkeypatch.setattr(BPR, "loss", loss)
    out = tmp_path / "out.json"
    assert run(folder, out, "itemknn,bpr", "0,1,2") == 0
    content, found = json.loads(out.read_text()), values(out)
    assert [(r["model"], r["seed"]) for r in content["meta"]["runs"] if "failed" in r] == [("bpr", 1)]
    assert "standard errors below" in stored.failures(content)[0] and "BPR-MF, seed 1" in stored.failures(content)[0]
    good = [found["bpr", seed, "test", "recall@20"] for seed in (0, 2)]
    assert stored.table(content, {"recall@20": "x"})["x"]["BPR-MF"].startswith(f"{np.mean(good):.3f}")
    test = next(test for test in content["tests"] if test["metric"] == "recall@20")
    knn = found["itemknn", 0, "test", "recall@20"]
    assert abs(test["difference"]) == pytest.approx(abs(np.mean(good) - knn), abs=1e-3)
    assert "training failed: BPR-MF, seed 1" in capsys.readouterr().out
    assert len(stored.best_epochs(content)["bpr"].split(",")) == 3  # the epochs show the failed seed, too


def test_a_run_that_only_the_cap_ended_says_so(folder, tmp_path, monkeypatch):
    from utils.models.bpr import BPR

    monkeypatch.setattr(BPR, "DEFAULTS", BPR.DEFAULTS | {"n_epochs": 3})
    assert run(folder, tmp_path / "out.json", "bpr") == 0
    assert json.loads((tmp_path / "out.json").read_text())["meta"]["runs"][0]["ended_by"] == "the cap of 3 epochs"


def test_models_that_read_content_are_held_against_the_closed_form_that_does(folder, tmp_path):
    rng = np.random.default_rng(3)
    (folder / "features").mkdir()
    np.save(folder / "features" / "visual.npy", rng.normal(size=(30, 4)).astype(np.float32))
    out = tmp_path / "out.json"
    assert run(folder, out, "bpr,vbpr,ease_content,ials,itemknn_content", "0") == 0
    content, found = json.loads(out.read_text()), values(out)
    assert [(t["a"], t["b"], t["metric"]) for t in content["closed_form"]] == [
        ("vbpr", reference, metric) for reference in ("ease_content", "ials") for metric in ("recall@20", "ndcg@20")
    ]
    difference = found["vbpr", 0, "test", "recall@20"] - found["ease_content", 0, "test", "recall@20"]
    assert content["closed_form"][0]["difference"] == pytest.approx(difference, abs=1e-4)
    assert run(folder, tmp_path / "two.json", "bpr,vbpr", "0") == 0
    assert json.loads((tmp_path / "two.json").read_text())["closed_form"] == []


def test_a_damaged_checkpoint_of_a_trial_is_set_aside_and_the_trial_counts(folder, tmp_path, monkeypatch):
    from utils.models.bpr import BPR

    real = BPR.begin_epoch
    monkeypatch.setattr(BPR, "SEARCH", {"lr": [1e-2]})

    def begin_epoch(self, generator):
        if list(tmp_path.glob("*.pt")):  # one epoch is done and kept
            raise KeyboardInterrupt
        return real(self, generator)

    monkeypatch.setattr(BPR, "begin_epoch", begin_epoch)
    out = tmp_path / "out.json"
    assert run(folder, out, "bpr", "0", "--budget", "2") == 130
    next(tmp_path.glob("*.pt")).write_bytes(b"half a checkpoint")
    monkeypatch.setattr(BPR, "begin_epoch", real)
    assert run(folder, out, "bpr", "0", "--budget", "2") == 0
    trials = json.loads(out.read_text())["meta"]["trials"]
    assert len(trials) == 2 and all(trial["recall@20"] >= 0 and not trial["note"] for trial in trials)


def test_the_benchmark_computes_on_one_thread_unless_it_is_told_otherwise(tmp_path, monkeypatch):
    import torch

    for told, threads in ((None, 1), ("2", 2)):
        torch.set_num_threads(2)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if told:
            monkeypatch.setenv("OMP_NUM_THREADS", told)
        with pytest.raises(CourseError):
            lab_accuracy.accuracy(str(tmp_path / "nowhere"), ["bpr"], [0], tmp_path / "r.json")
        assert torch.get_num_threads() == threads
