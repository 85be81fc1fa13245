"""The training stage: the card of a checkpoint, and going on after a stop."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from tests.command_line import call, write_folder
from tests.conftest import make_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.market.crises import CRISES
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.report import model_card
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.request import requested_bars
from trm_bt.runs.train import card_facts, train_checkpoint

SETTINGS = {
    "seed": 3,
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {"epochs": 3, "max_batches_per_epoch": 2, "min_labels": 100},
}


class StopError(Exception):
    """What stops a training in the middle."""


def stop_in(epoch):
    """Return a progress callback that stops a training in an epoch."""

    def callback(news):
        if news.epoch == epoch and news.finished is None:
            raise StopError

    return callback


@pytest.fixture(scope="module")
def bars():
    return make_bars(600)


@pytest.fixture(scope="module")
def request_(bars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    inputs = write_folder(folder / "bars", bars)
    config = TRMConfig.model_validate(SETTINGS)
    return RunRequest(str(inputs), config, end=str(bars.sessions[540].date()))


@pytest.fixture(scope="module")
def loaded(request_):
    return requested_bars(request_)


@pytest.fixture(scope="module")
def labels(loaded):
    return compute_labels(loaded, compute_features(loaded))


@pytest.fixture(scope="module")
def checkpoint(request_, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "mine"
    train_checkpoint(request_, out)
    return out


@pytest.fixture(scope="module")
def card(checkpoint):
    return (checkpoint / "MODEL_CARD.md").read_text(encoding="utf-8")


def row(card: str, first: str) -> list[str]:
    (line,) = re.findall(rf"^\| {re.escape(first)} \|.*$", card, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_card_counts_the_labels_of_each_crisis(card, checkpoint, labels):
    record = load_checkpoint(checkpoint).record
    known = pd.Timestamp(record.last_label_known_on)

    for crisis in CRISES:
        inside = [  # held through a part of it, be it decided before
            decided
            for decided, known_on in labels["known_on"].items()
            if decided <= crisis.end and known_on >= crisis.start
        ]
        trained = sum(s <= pd.Timestamp(record.train_end) for s in inside)
        validated = sum(s >= pd.Timestamp(record.validation_start) for s in inside)
        cells = row(card, crisis.name.replace("_", r"\_"))
        assert cells[1:3] == [str(trained), str(validated)]
        later = crisis.start > known
        assert (cells[3] == "after everything it knows") == later
        assert (cells[3] == "in sample") == bool(trained + validated)
    assert "in sample" in card


def test_the_card_counts_the_labels_it_was_trained_on(card, checkpoint, labels):
    record = load_checkpoint(checkpoint).record
    winners = labels["winner"].loc[: str(record.train_end)].tolist()

    assert len(winners) == record.n_train
    for k, name in enumerate(("ultra_defensive", "defensive", "balanced_safe")):
        n_wins = sum(winner == k for winner in winners)
        cells = row(card, name.replace("_", r"\_"))
        assert cells[1:3] == [str(n_wins), f"{n_wins / len(winners):.1%}"]


def test_the_card_tells_span_figures_and_settings(card, checkpoint):
    model = load_checkpoint(checkpoint)
    record, best = model.record, model.record.best

    assert card.startswith("# mine\n")
    assert f"known up to\n**{record.last_label_known_on}**" in card
    assert f"{best.validation_accuracy:.1%}" in card
    assert f"temperature of {record.temperature:.2f} calibrates" in card
    assert row(card, "supervision steps used")[1] == f"{best.validation_mean_steps:.2f}"
    settings = re.search(r"```json\n(.*?)```", card, re.DOTALL)
    assert settings is not None
    assert json.loads(settings[1]) == model.config.model_dump(mode="json")
    assert "With other assets" in card


def test_the_card_says_so_where_there_is_no_skill(checkpoint, labels, loaded):
    facts = card_facts(load_checkpoint(checkpoint), labels, loaded)

    def card_of(**figures):
        validation = facts.model.validation.model_copy(update=figures)
        named = facts.model.model_copy(update={"validation": validation})
        return model_card(replace(facts, model=named))

    better = card_of(accuracy=0.7, majority_accuracy=0.6)
    assert "no skill" in card_of(accuracy=0.6, majority_accuracy=0.6)
    assert "no skill" not in better
    assert "does not prove skill" in better


def test_the_card_knows_nothing_of_later_bars(request_, checkpoint, card):
    """A card made with sixty later sessions is the same card."""
    later = requested_bars(replace(request_, end=None))
    labels = compute_labels(later, compute_features(later))
    model = load_checkpoint(checkpoint)

    assert str(later.sessions[-1].date()) > request_.end
    assert model_card(card_facts(model, labels, later)) == card


def test_hostile_names_are_shown_as_they_are(checkpoint, labels, loaded):
    facts = card_facts(load_checkpoint(checkpoint), labels, loaded)
    hostile = {"name": "<script>alert(1)</script> | a\n# b"}
    named = replace(facts, model=facts.model.model_copy(update=hostile))

    title = model_card(named).splitlines()[0]

    assert title == r"# &lt;script>alert(1)&lt;/script> \| a # b"


@pytest.mark.slow
def test_a_stopped_training_resumes_and_ends_in_the_same_bytes(
    request_, checkpoint, tmp_path
):
    out = tmp_path / "mine"
    for epoch in (2, 3):
        with pytest.raises(StopError):
            train_checkpoint(request_, out, resume=True, progress=stop_in(epoch))
        assert [path.name for path in tmp_path.iterdir()] == ["mine.unfinished"]

    train_checkpoint(request_, out, resume=True)

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for path in checkpoint.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_an_unfinished_training_is_neither_forgotten_nor_lost(request_, tmp_path):
    out = tmp_path / "mine"
    with pytest.raises(StopError):
        train_checkpoint(request_, out, progress=stop_in(2))

    with pytest.raises(RunError, match=r"unfinished training\. Pass --resume"):
        train_checkpoint(request_, out)

    assert (tmp_path / "mine.unfinished").is_dir()
    steps = []
    train_checkpoint(
        request_, out, force=True, progress=lambda news: steps.append(news.step)
    )
    assert steps[0] == 1
    assert not (tmp_path / "mine.unfinished").exists()


@pytest.mark.slow
def test_a_training_stopped_before_its_first_epoch_begins_again(request_, tmp_path):
    with pytest.raises(StopError):
        train_checkpoint(request_, tmp_path / "mine", progress=stop_in(1))
    assert list(tmp_path.iterdir()) == []

    train_checkpoint(request_, tmp_path / "mine", resume=True)

    assert load_checkpoint(tmp_path / "mine").record.history[-1].epoch == 3


@pytest.mark.slow
def test_train_prints_a_line_an_epoch(monkeypatch, capsys, request_, tmp_path):
    (tmp_path / "small.json").write_text(request_.config.to_json())
    arguments = ["train", "--bars", request_.bars, "--config", tmp_path / "small.json"]

    code, out, err = call(
        monkeypatch, capsys, *arguments, "--out", tmp_path / "mine", "--json"
    )

    assert code == 0
    facts = json.loads(out)
    lines = [line for line in err.splitlines() if re.match(r" +\d ", line)]
    assert len(lines) == 3
    best = load_checkpoint(tmp_path / "mine").record.history[facts["best_epoch"] - 1]
    told = lines[facts["best_epoch"] - 1]
    assert f"{best.train_loss:.4f}" in told
    assert f"{best.validation_accuracy:.1%}" in told
    assert f"{facts['validation']['majority_accuracy']:.1%})" in told
    assert f"{best.validation_utility * 1e4:.2f}" in told
    assert f"{facts['validation']['best_fixed_utility'] * 1e4:.2f})" in told


def test_train_needs_an_out_or_a_self_check(monkeypatch, capsys, tmp_path):
    for options in ((), ("--self-check", "--out", tmp_path / "x")):
        code, _, err = call(monkeypatch, capsys, "train", *options)
        assert code == 2
        assert "`--out` to train or `--self-check`" in err


@pytest.mark.evidence
@pytest.mark.parametrize(("rate", "expected"), [(1e-3, 0), (1e-9, 1)])
def test_self_check_prints_three_checks_and_fails_the_job(
    monkeypatch, capsys, request_, tmp_path, rate, expected
):
    settings = {**SETTINGS, "model": {"hidden_dim": 32}}
    settings["training"] = {"learning_rate": rate}
    (tmp_path / "small.json").write_text(json.dumps(settings))
    arguments = ["train", "--self-check", "--bars", request_.bars, "--json"]

    code, out, err = call(
        monkeypatch, capsys, *arguments, "--config", tmp_path / "small.json"
    )

    assert code == expected
    assert [check["name"] for check in json.loads(out)] == [
        "capacity",
        "convergence",
        "anti-memorisation",
    ]
    assert ("checks of the training failed: capacity" in err) == (expected == 1)
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]
