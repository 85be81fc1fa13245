"""Training: reproducible, blind to the future, and able to learn a planted rule."""

import math
import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_bars
from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import BarsError, TRMError
from trm_bt.learning.dataset import known_by, samples_from_labels
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.parallel import TrainingJob, train_all
from trm_bt.learning.records import Progress, TrainedModel
from trm_bt.learning.threads import cpu_threads
from trm_bt.learning.trainer import Rows, _Run, train
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.features import FeatureSchema, compute_features
from trm_bt.market.labels import compute_labels

SMALL = ModelConfig(hidden_dim=16, num_latent_steps=2, num_recursion_cycles=2)


@pytest.fixture(autouse=True)
def one_thread():
    with cpu_threads(1):
        yield


def small_config(*, seed: int = 0, **training) -> TRMConfig:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    return TRMConfig(seed=seed, model=SMALL, training=naming(**settings))


def fit(samples, config, **options) -> TrainedModel:
    return train(samples, FeatureSchema(), config, name="test", **options)


def is_equal(left: TrainedModel, right: TrainedModel) -> bool:
    return (
        left.record == right.record
        and left.scaler.mean.tobytes() == right.scaler.mean.tobytes()
        and left.scaler.std.tobytes() == right.scaler.std.tobytes()
        and all(
            left.parameters[name].numpy().tobytes() == value.numpy().tobytes()
            for name, value in right.parameters.items()
        )
    )


def test_the_seed_preset_learns_a_planted_rule():
    """As many rows as the smallest crisis model has, and all settings as shipped."""
    config = TRMConfig.preset("seed")
    trained = train(planted_samples(1_700), FeatureSchema(), config, name="rule")

    record = trained.record
    assert record.majority_accuracy < 0.6
    assert record.best.validation_accuracy >= 0.85
    assert record.best.validation_utility > 2 * record.best_fixed_utility


def test_equal_seeds_give_equal_bits_and_others_do_not():
    samples = planted_samples(400)
    first = fit(samples, small_config())

    assert is_equal(first, fit(samples, small_config()))
    assert not is_equal(first, fit(samples, small_config(seed=1)))


def test_global_generators_and_threads_are_left_alone():
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global generator is what is watched
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    n_threads = torch.get_num_threads()
    config = small_config(epochs=1, max_batches_per_epoch=1, num_threads=n_threads + 1)

    fit(planted_samples(300), config)

    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert torch.get_num_threads() == n_threads


def test_threads_are_restored_after_a_failure():
    n_threads = torch.get_num_threads()
    with pytest.raises(BarsError, match="got 5 labels"):
        fit(planted_samples(5), small_config(num_threads=n_threads + 1))

    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("cut", [420, 555])
def test_bars_cut_at_a_session_train_the_same_model_as_all_bars(cut):
    """Scaler and parameters, byte for byte, know nothing of later bars."""
    bars = make_bars(600, seed=4)
    session = bars.sessions[cut]

    def trained(some_bars):
        labels = compute_labels(some_bars, compute_features(some_bars))
        return fit(known_by(samples_from_labels(labels), session), small_config())

    whole, past = trained(bars), trained(bars.between(None, session))

    assert is_equal(whole, past)
    assert past.record.last_label_known_on == session.date()


def test_record_tells_spans_counts_and_baselines():
    samples = planted_samples(500)
    config = small_config(validation_fraction=0.2, batch_size=100)

    record = fit(samples, config).record

    assert (record.n_train, record.n_purged, record.n_validation) == (394, 6, 100)
    assert record.train_start == samples.sessions[0].date()
    assert record.train_end == samples.sessions[393].date()
    assert record.validation_start == samples.sessions[400].date()
    assert record.validation_end == samples.sessions[-1].date()
    assert record.last_label_known_on == samples.known_on[-1].date()
    assert record.batch_size == 99  # 394 rows in four batches
    assert record.n_planned_steps == record.n_optimizer_steps == 2 * 3 * 4
    winners = samples.winners[400:].tolist()
    most = max(winners.count(k) for k in range(8))
    assert record.majority_accuracy == pytest.approx(most / 100)
    fixed = [np.mean(column) for column in samples.returns[400:].T]
    assert record.best_fixed_utility == pytest.approx(max(fixed) / 5)
    assert [epoch.epoch for epoch in record.history] == [1, 2]


def test_kept_parameters_are_those_of_the_best_epoch():
    samples = planted_samples(500)
    trained = fit(samples, small_config(epochs=6, learning_rate=0.02))

    losses = [epoch.validation_loss for epoch in trained.record.history]
    assert trained.record.best_epoch == 1 + int(np.argmin(losses))
    model = TinyRecursiveModel(trained.config.model)
    model.load_state_dict(trained.parameters)
    newest = samples.where(np.arange(500) >= 425)
    scaled = torch.from_numpy(trained.scaler.transform(newest.features))
    choices = model.predict(scaled).logits.argmax(dim=1).numpy()
    accuracy = (choices == newest.winners).mean()
    assert accuracy == trained.record.best.validation_accuracy
    earned = newest.returns[np.arange(75), choices].mean() / 5
    assert earned == pytest.approx(trained.record.best.validation_utility)


def test_patience_ends_a_training_that_no_longer_improves():
    samples = planted_samples(400)
    shuffled = np.random.default_rng(0).permutation(400)
    noise = replace(
        samples, returns=samples.returns[shuffled], winners=samples.winners[shuffled]
    )

    record = fit(noise, small_config(epochs=30, patience=2, learning_rate=0.02)).record

    assert len(record.history) == record.best_epoch + 2 < 30
    assert record.n_optimizer_steps < record.n_planned_steps


def test_progress_reports_every_optimiser_step_and_epoch():
    reports = []

    record = fit(planted_samples(300), small_config(), progress=reports.append).record

    steps = [report for report in reports if report.finished is None]
    assert [report.step for report in steps] == (
        list(range(1, record.n_optimizer_steps + 1))
    )
    assert {report.total_steps for report in reports} == {record.n_planned_steps}
    assert np.mean([r.loss for r in steps if r.epoch == 1]) == pytest.approx(
        record.history[0].train_loss
    )
    epochs = [report for report in reports if report.finished is not None]
    assert tuple(report.finished for report in epochs) == record.history
    assert [report.epoch for report in epochs] == [1, 2]
    assert {r.majority_accuracy for r in reports} == {record.majority_accuracy}
    assert {r.best_fixed_utility for r in reports} == {record.best_fixed_utility}


def test_divergence_is_an_error_of_our_own():
    with pytest.raises(TRMError, match=r"must stay finite, got nan.*learning_rate"):
        fit(planted_samples(300), small_config(learning_rate=1e30))


def test_training_side_by_side_gives_the_same_bits():
    samples = planted_samples(320)
    jobs = [
        TrainingJob("older", samples.where(np.arange(320) < 260)),
        TrainingJob("newer", samples),
    ]
    reports = []

    together = train_all(
        jobs, FeatureSchema(), small_config(), n_processes=2, progress=reports.append
    )

    apart = train_all(jobs, FeatureSchema(), small_config(), n_processes=1)
    assert [model.name for model in together] == ["older", "newer"]
    assert all(map(is_equal, together, apart))
    steps = sum(model.record.n_optimizer_steps for model in apart)
    assert sum(report.finished is None for report in reports) == steps
    assert {report.name for report in reports} == {"older", "newer"}


def test_a_failure_ends_the_other_trainings_promptly():
    samples = planted_samples(400)
    unsound = replace(samples, features=np.full_like(samples.features, np.nan))
    jobs = [TrainingJob("long", samples), TrainingJob("unsound", unsound)]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)
    news_at = []

    with pytest.raises(TRMError, match="model unsound must stay finite, got nan"):
        train_all(
            jobs,
            FeatureSchema(),
            endless,
            n_processes=2,
            progress=lambda _: news_at.append(time.monotonic()),
        )

    assert multiprocessing.active_children() == []
    assert time.monotonic() - news_at[-1] < 5


def test_a_process_that_dies_is_an_error_of_our_own():
    jobs = [TrainingJob(name, planted_samples(400)) for name in ("a", "b")]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)

    def end_all(_):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(TRMError, match="A training process ended before"):
        train_all(jobs, FeatureSchema(), endless, n_processes=2, progress=end_all)

    assert multiprocessing.active_children() == []


def make_run(model=None, progress=None, **training) -> _Run:
    """Lay out a training of 260 rows, 40 of which validate."""
    samples = planted_samples(300)
    is_old = np.arange(300) < 254
    old, new = samples.where(is_old), samples.where(np.arange(300) >= 260)
    settings = {"batch_size": 90, "max_batches_per_epoch": 3, "epochs": 2, **training}
    config = TRMConfig(
        model=SMALL.model_copy(update=model or {}), training=naming(**settings)
    )
    return _Run("test", Rows(old, new, config), config, progress)


@pytest.mark.parametrize(
    ("target", "temperature"), [("label", None), ("utility", None), ("utility", 0.5)]
)
def test_paid_for_risk_alone_returns_say_nothing(target, temperature):
    """Utilities are the same training mean in every row, less the row's own risk."""
    variances = np.random.default_rng(5).uniform(0.0, 0.02, (300, 8))
    samples = replace(planted_samples(300), variances=variances)
    is_old = np.arange(300) < 254
    settings = TrainingConfig(
        utility="risk",
        risk_aversion=7.0,
        prior_sharpe=None,
        target=target,
        target_temperature=temperature,
    )

    rows = Rows(
        samples.where(is_old), samples.where(~is_old), TRMConfig(training=settings)
    )

    paid = (samples.returns[:254].mean(axis=0) - 7 / 2 * variances) / 5
    np.testing.assert_allclose(rows.utilities, paid[is_old], rtol=1e-9)
    np.testing.assert_allclose(rows.new_utilities, paid[~is_old], rtol=1e-9)
    unit = paid[is_old].std()
    for found, part in ((rows.old, is_old), (rows.new, ~is_old)):
        best = [max(range(8), key=row.__getitem__) for row in paid[part]]
        labels = samples.winners[part].tolist()
        assert found.winners.tolist() == (best if target == "utility" else labels)
        if temperature is None:
            assert found.soft is None
            continue
        for shares, row in zip(found.soft, paid[part].tolist(), strict=True):
            powers = [math.exp(worth / (temperature * unit)) for worth in row]
            by_hand = [power / sum(powers) for power in powers]
            assert shares.tolist() == pytest.approx(by_hand, rel=1e-9)


def force_halting(run: _Run, bias: float) -> None:
    """Make the halt logit a constant, far from what a few steps can move."""
    with torch.no_grad():
        run.fit.model.nets.halt_out.weight.zero_()
        run.fit.model.nets.halt_out.bias.fill_(bias)


@pytest.mark.parametrize("bps", [0.0, 25.0])
def test_training_utilities_are_net_of_trading_as_the_formula_says(bps):
    """Costs follow what the averaged network holds one row earlier, epoch by epoch."""
    run = make_run(turnover_cost_bps=bps, learning_rate=0.01)
    for _ in range(2):
        probe = TinyRecursiveModel(run.config.model)
        probe.load_state_dict(run.fit.averaged_parameters())
        logits = probe.predict(run.rows.features).logits.double().numpy()
        run.epoch()
        old = run.rows.old
        gross = [[r / 5 for r in row] for row in old.returns.tolist()]
        scale = np.std(gross)
        held = None
        for row in range(len(old)):
            powers = np.exp(logits[row] - logits[row].max())
            mix = powers / powers.sum() @ ALLOCATION_WEIGHTS
            before = mix if held is None else held
            held = mix
            for k, (equity, bond, _) in enumerate(ALLOCATION_WEIGHTS):
                traded = abs(equity - before[0]) + abs(bond - before[1])
                net = gross[row][k] - bps / 10_000 * traded
                found = run.rows.targets.utilities[row, k].item()
                assert found == pytest.approx(net / scale, abs=2e-5)


def test_the_first_row_pays_nothing_to_be_where_it_wants_to_be():
    """A network sure of one class pays only for the others."""
    run = make_run(turnover_cost_bps=25.0)
    with torch.no_grad():
        run.fit.average.nets.readout.weight.zero_()
        run.fit.average.nets.readout.bias.copy_(100.0 * torch.eye(8)[5])
    gross = run.rows.targets.utilities.clone()

    run.rows.charge(run.fit.average.predict(run.rows.features).logits, run.config)

    paid = (gross - run.rows.targets.utilities) * run.rows.scale
    # from class 5 to class 0: 70 % of equity sold and 40 % of bond bought, at 25 bp
    torch.testing.assert_close(paid[:, 5], torch.zeros(254), rtol=0, atol=1e-9)
    torch.testing.assert_close(paid[:, 0], torch.full((254,), 0.00275))


def test_validation_utility_is_net_of_trading():
    samples = planted_samples(500)
    trained = fit(samples, small_config(turnover_cost_bps=40.0, epochs=3))

    model = TinyRecursiveModel(trained.config.model)
    model.load_state_dict(trained.parameters)
    newest = samples.where(np.arange(500) >= 425)
    scaled = torch.from_numpy(trained.scaler.transform(newest.features))
    choices = model.predict(scaled).logits.argmax(dim=1).tolist()
    earned, held = [], choices[0]
    for row, choice in enumerate(choices):
        moved = np.abs(ALLOCATION_WEIGHTS[choice] - ALLOCATION_WEIGHTS[held])[:2]
        earned.append(newest.returns[row, choice] / 5 - 0.0040 * moved.sum())
        held = choice
    assert len(set(choices)) > 1
    assert trained.record.best.validation_utility == pytest.approx(np.mean(earned))


@pytest.mark.parametrize("n_parts", [1, 2])
def test_a_batch_is_left_when_all_its_rows_halt(n_parts):
    reports: list[Progress] = []
    run = make_run(
        progress=reports.append,
        gradient_accumulation_steps=n_parts,
        halt_loss_weight=0.0,
        weight_decay=0.0,
    )
    force_halting(run, 50.0)

    while not run.is_over:
        run.epoch()

    steps = [report for report in reports if report.finished is None]
    assert run.fit.step == len(steps) == 2 * 3  # a pass a batch
    assert [report.step for report in steps] == [4, 8, 12, 16, 20, 24]
    assert run.fit.position == run.fit.total_steps == 24
    for epoch in run.course.history:
        own = [report.loss for report in steps if report.epoch == epoch.epoch]
        assert epoch.train_loss == pytest.approx(sum(own) / 3)
        assert epoch.n_optimizer_steps == 3 * epoch.epoch


def test_the_schedule_passes_over_the_steps_that_were_saved():
    run = make_run(halt_loss_weight=0.0, weight_decay=0.0, learning_rate=0.5)
    force_halting(run, 50.0)
    moved = []
    for batch in (torch.arange(90), torch.arange(90)):
        before = run.fit.model.embedding.weight.detach().clone()
        assert len(list(run._train_on(batch))) == 1
        moved.append((run.fit.model.embedding.weight - before).abs().max().item())

    # AdamW's first step has the size of the rate; warm-up takes 3 of 24 passes
    assert moved[0] == pytest.approx(0.5 / 3, rel=1e-3)
    assert moved[1] > 0.3


@pytest.mark.parametrize("n_parts", [1, 3])
def test_a_batch_goes_on_while_one_row_does_not_halt(n_parts):
    run = make_run({"dropout": 0.0}, gradient_accumulation_steps=n_parts)
    batch = torch.arange(90)
    with torch.no_grad():  # every first halt logit but the lowest is positive
        halts = run.fit.model(run.rows.features[batch]).halt_logits.sort().values
        run.fit.model.nets.halt_out.bias -= (halts[0] + halts[1]) / 2

    next(run._train_on(batch))

    assert run.fit.position == 1


@pytest.mark.parametrize("initial_states", ["fixed", "learned"])
def test_the_papers_architecture_learns_a_planted_rule(initial_states):
    model = ModelConfig(
        architecture="paper",
        initial_states=initial_states,
        hidden_dim=32,
        num_latent_steps=2,
        num_recursion_cycles=2,
    )
    config = TRMConfig(model=model, training=naming())

    record = train(planted_samples(1_700), FeatureSchema(), config, name="rule").record

    assert record.majority_accuracy < 0.6
    assert record.best.validation_accuracy >= 0.85
    assert record.best.validation_utility > 2 * record.best_fixed_utility


@pytest.mark.parametrize("n_cycles", [1, 3])
def test_learned_starts_train_whatever_reaches_them(n_cycles):
    model = ModelConfig(
        architecture="paper",
        initial_states="learned",
        hidden_dim=16,
        num_latent_steps=2,
        num_recursion_cycles=n_cycles,
    )
    training = naming(epochs=2, max_batches_per_epoch=3, weight_decay=0.0)
    config = TRMConfig(model=model, training=training)

    trained = fit(planted_samples(400), config)

    first = TinyRecursiveModel(model, seed=0).state_dict()
    for name in ("nets.answer_start", "nets.latent_start"):
        is_moved = not torch.equal(trained.parameters[name], first[name])
        assert is_moved == (n_cycles == 1)
    losses = [epoch.train_loss for epoch in trained.record.history]
    assert losses[1] < losses[0]
