"""Sweeps: every trial is a walk-forward, resumed where it was stopped, and judged."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.command_line import write_folder
from tests.conftest import make_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, ConfigError, RunError
from trm_bt.evaluation.sweep import TrialReturns, judge, utility_of
from trm_bt.evaluation.trials import read_trials
from trm_bt.report.sweep_page import SweepContent, render_sweep
from trm_bt.runfolder.records import RunRequest
from trm_bt.runfolder.store import read_run_record
from trm_bt.runs.grid import Grid, Sampler, SweepRequest, read_grid, settings_at
from trm_bt.runs.listing import list_runs
from trm_bt.runs.progress import Counts, SweepState
from trm_bt.runs.run import run
from trm_bt.runs.sweep import measure, sweep

SETTINGS = {
    "seed": 5,
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {
        "epochs": 1,
        "max_batches_per_epoch": 1,
        "n_supervision_steps": 1,
        "min_labels": 80,
    },
    "walkforward": {"n_seeds": 1},
}
GRID = {"strategy.decision": ["argmax", "blend"]}


@pytest.fixture(scope="module")
def universes(tmp_path_factory):
    work = tmp_path_factory.mktemp("bars")
    return [str(write_folder(work / n, make_bars(200, seed=int(n)))) for n in "12"]


def make_request(universes, grid=GRID, **options) -> SweepRequest:
    config = TRMConfig.model_validate(SETTINGS)
    requests = [RunRequest(bars, config, schedule="calendar") for bars in universes]
    return SweepRequest(tuple(requests), Grid(grid), **options)


@pytest.fixture(scope="module")
def swept(universes, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "sweep"
    states = []
    judged = sweep(
        make_request(universes, n_seeds=2),
        out,
        executor=1,
        on_state=lambda state: states.append(counts(state)),
    )
    return out, judged, states


def counts(state):
    return [(c.n_found, c.n_done, c.n_left) for c in (state.folds, state.trials)]


def results(out, kind="results"):
    return {path.name: path.read_bytes() for path in (out / kind).iterdir()}


def test_settings_seeds_and_universes_are_all_tried_and_counted(swept):
    out, judged, states = swept

    # of 8 trials two differ in the decision alone, each of a fold and a seed
    folds = [[(0, n, 4 - n), (0, 0, 8)] for n in range(5)]
    assert states == folds + [[(0, 4, 0), (0, n, 8 - n)] for n in range(1, 9)]
    assert len(results(out, "folds")) == 4
    assert judged.n_trials == len(results(out)) == 2 * 2 * 2
    log = read_trials(out.parent / "trials")
    assert len({trial.configuration for trial in log}) == 2 * 2
    assert [len(row.by_universe) for row in judged.ranking] == [2] * 2
    utilities = [row.utility for row in judged.ranking]
    assert utilities == sorted(utilities, reverse=True)
    assert judged.median == judged.ranking[1].number
    assert judged.verdict[0].startswith("Nothing shows that the best setting is better")
    page = (out / "index.html").read_text()
    assert judged.ranking[0].point["strategy.decision"] in page
    assert "One line per setting" in page
    table = pd.read_csv(out / "ranking.csv")
    assert table["utility"].tolist() == pytest.approx(utilities)


@pytest.mark.slow
def test_a_trial_is_the_walk_forward_to_the_bit(swept, universes, tmp_path):
    out, judged, _ = swept
    best = judged.ranking[0]
    base = TRMConfig.model_validate(SETTINGS)
    config = settings_at(base, best.point)
    run(
        RunRequest(universes[0], config, schedule="calendar"),
        tmp_path / "w",
        executor=1,
    )

    summary = json.loads((tmp_path / "w" / "summary.json").read_text())
    (mine,) = [
        trial
        for trial in read_trials(tmp_path / "trials")
        if (out.parent / "trials" / trial.file_name).is_file()
    ]
    assert mine.sharpe == summary["strategies"]["trm"]["sharpe"]
    theirs, ours = (
        pd.read_parquet(folder / "trials" / mine.file_name)
        for folder in (tmp_path, out.parent)
    )
    pd.testing.assert_frame_equal(theirs, ours, check_exact=True)


def test_what_is_there_is_not_done_again(swept, universes):
    out, judged, _ = swept
    before = results(out)
    lost = sorted(before)[:3]
    for name in lost:
        (out / "results" / name).unlink()
    states = []

    again = sweep(
        make_request(universes, n_seeds=2),
        out,
        executor=1,
        on_state=lambda state: states.append(counts(state)),
    )

    assert states[-1][1] == (5, 3, 0)
    assert results(out) == before
    assert again == judged


@pytest.mark.slow
def test_processes_find_the_same_to_the_bit(swept, universes, tmp_path):
    out, judged, _ = swept

    other = sweep(make_request(universes, n_seeds=2), tmp_path / "s", executor=2)

    assert results(tmp_path / "s") == results(out)
    assert other == judged


def test_a_sweep_is_listed_and_is_no_run(swept):
    out, judged, _ = swept

    (entry,) = list_runs(out.parent)

    assert (entry.kind, entry.state) == ("sweep", "finished")
    assert entry.sharpe == judged.ranking[0].utility
    starts = [found.start for found in judged.universes.values()]
    assert entry.span.startswith(f"{min(starts)} to ")
    with pytest.raises(RunError, match=r"must be a run, but is a sweep"):
        read_run_record(out)


def test_another_sweep_is_not_replaced(swept, universes):
    out = swept[0]
    before = results(out)
    with pytest.raises(RunError, match="a sweep with other settings, bars or versions"):
        sweep(make_request(universes, n_seeds=1), out, executor=1)
    assert results(out) == before


def test_a_trial_that_fails_is_named_and_the_rest_ranked(universes, tmp_path):
    grid = {"training.min_labels": [80, 100_000]}

    judged = sweep(make_request(universes[:1], grid), tmp_path / "s", executor=1)

    assert [row.point for row in judged.ranking] == [{"training.min_labels": 80}]
    ((name, error),) = judged.failed.items()
    assert name == f"training.min_labels 100000, seed 5, {universes[0]}"
    assert error.startswith("BarsError: A walk-forward needs 100000 labels")
    assert error in (tmp_path / "s" / "index.html").read_text()


def test_one_fold_is_measured_and_kept(universes, tmp_path):
    request = make_request(universes)

    found = measure(request, tmp_path / "s")

    assert (found.n_trials, found.n_folds) == (4, 2)
    assert found.seconds > 0
    (kept,) = results(tmp_path / "s", "folds")
    again = measure(request, tmp_path / "s")
    assert again.seconds > 0  # that of one that is found is 0
    states = []
    sweep(
        request,
        tmp_path / "s",
        executor=1,
        on_state=lambda state: states.append(counts(state)),
    )
    assert states[-1] == [(1, 1, 0), (0, 4, 0)]
    assert kept in results(tmp_path / "s", "folds")
    (entry,) = [e for e in list_runs(tmp_path) if e.kind == "sweep"]
    assert (entry.name, entry.state, entry.seed) == ("s", "finished", 5)


def test_time_left_is_what_one_took_shared_by_the_workers():
    folds = Counts(10, n_done=2, seconds=60.0)
    state = SweepState(Counts(3), folds, n_workers=4)

    assert (state.under_way, state.n_running(folds), folds.n_left) == (folds, 4, 8)
    assert folds.minutes_left(4) == pytest.approx(8 * 30 / 4 / 60)
    assert state.n_running(state.trials) == 0  # folds are done first
    assert state.trials.minutes_left(4) is None
    folds.n_found = 8
    assert (state.under_way, state.n_running(state.trials)) == (state.trials, 3)
    unknown = SweepState(Counts(3))
    assert unknown.n_running(unknown.trials) is None


def test_the_sampler_draws_points_once_and_the_same_ones():
    grid = Grid({"labels.horizon": list(range(1, 11))})
    drawn = [next(Sampler("random", 4, seed).batches(grid)) for seed in (0, 0, 1)]

    assert drawn[0] == drawn[1] != drawn[2]
    values = [point["labels.horizon"] for point in drawn[0]]
    assert len(set(values)) == 4
    assert set(values) <= set(range(1, 11))


def test_a_point_that_is_proposed_again_is_not_tried_again(universes, tmp_path):
    pytest.importorskip("optuna", reason="the extra optuna is not installed")
    request = make_request(universes[:1], sampler=Sampler("optuna", 10))
    states = []

    judged = sweep(
        request,
        tmp_path / "s",
        executor=1,
        on_state=lambda s: states.append((s.trials.n_total, *counts(s)[1])),
    )

    assert request.n_trials == 10
    assert judged.n_trials == 2
    assert states[-1] == (2, 0, 2, 0)


def test_optuna_proposes_the_same_points_for_the_same_utilities():
    pytest.importorskip("optuna", reason="the extra optuna is not installed")
    grid = Grid({"labels.horizon": list(range(1, 41))})

    def proposed():
        batches = Sampler("optuna", 20, 3).batches(grid)
        points, found = next(batches), []
        while points:
            found += points
            try:
                points = batches.send(
                    [-abs(p["labels.horizon"] - 20.0) for p in points]
                )
            except StopIteration:
                return [point["labels.horizon"] for point in found]
        raise AssertionError

    assert len(proposed()) == 20
    assert proposed() == proposed()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{}", "must be a grid"),
        ('{"labels.horizon": 5}', "must be a grid"),
        ('{"labels.horizon": []}', "must be a grid"),
        ("[1]", "must be a grid"),
        ("nonsense", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path, content, rule):
    path = tmp_path / "grid.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rule):
        read_grid(path)


@pytest.mark.parametrize(
    ("point", "rule"),
    [
        ({"labels.horizn": 5}, "did you mean `horizon`"),
        ({"label.horizon": 5}, "did you mean `labels`"),
        ({"labels.horizon": 0}, "labels.horizon"),
        ({"labels.horizon.x": 5}, "has no settings in it"),
        ({"seed": 5}, "give --seed and --seeds"),
        ({"walkforward.window": 10}, "must be at least `training.min_labels`"),
        ({"model.hidden_dim": 4096, "training.batch_size": 65536}, "at most 16 GiB"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything(point, rule):
    with pytest.raises(ConfigError, match=rule):
        settings_at(TRMConfig.model_validate(SETTINGS), point)


def planted(leads, n_sessions=1500, n_seeds=2):
    """Returns of settings that differ by a lead a session and noise of their own."""
    rng = np.random.default_rng(0)
    sessions = pd.bdate_range("2010-01-04", periods=n_sessions)
    common = rng.normal(0.0, 0.01, n_sessions)
    return [
        TrialReturns(
            number,
            seed,
            "u",
            pd.Series(common + lead + rng.normal(0, 0.001, n_sessions), sessions),
        )
        for number, lead in enumerate(leads)
        for seed in range(n_seeds)
    ]


def test_a_planted_lead_is_found_and_luck_is_not():
    points = {n: {"x": n} for n in range(6)}

    skilled = judge(planted([0, 0, 0, 0, 0, 0.0005]), points, "sharpe", {})
    lucky = judge(planted([0.0] * 6), points, "sharpe", {})

    assert skilled.ranking[0].number == 5
    assert skilled.verdict[0].startswith("The best setting is better than the median")
    assert skilled.universes["u"].overfitting.probability < 0.05
    assert lucky.verdict[0].startswith("The best setting is no better than the median")
    assert lucky.universes["u"].overfitting.probability > 0.2


def test_a_lead_on_some_bars_alone_is_said():
    points = {n: {"x": n} for n in range(6)}
    other = [replace(t, universe="v") for t in planted([0.0] * 6)]

    judged = judge([*planted([0, 0, 0, 0, 0, 0.0005]), *other], points, "sharpe", {})

    assert judged.universes["u"].superiority < 0.05 < judged.universes["v"].superiority
    assert "no better than the median one on all bars" in judged.verdict[0]
    assert "on some of them alone" in judged.verdict[0]


def test_a_point_has_one_number_however_it_is_written(universes, tmp_path):
    listed = [{"strategy.decision": "blend", "labels.horizon": 5}]
    listed += [{"labels.horizon": 5, "strategy.decision": "blend"}]
    request = make_request(universes[:1])

    judged = sweep(replace(request, grid=Grid({}, listed)), tmp_path / "s", executor=1)

    assert (judged.n_trials, len(judged.ranking)) == (1, 1)


@pytest.mark.parametrize("has_gaps", [False, True])
def test_two_settings_that_vary_are_drawn_as_a_map(has_gaps):
    points = {n: {"x": n % 2, "y": n // 2} for n in range(4)}
    if has_gaps:  # a list of points need not give each setting
        del points[0]["x"], points[3]["y"]
    trials = planted([0.0, 0.001, 0.0, 0.0], n_sessions=100)
    judged = judge(trials, points, "mean_variance", {"one more": "Error: no"})
    growth = {"u": pd.DataFrame({1: trials[0].excess + 1, 0: trials[1].excess + 1})}

    page = render_sweep(SweepContent(judged, growth))

    assert "Mean utility of each pair of values" in page
    assert "Error: no" in page


def test_utilities_are_what_they_are_called():
    r = np.array([0.01, -0.005, 0.002, 0.004] * 20)
    mean, n = sum(r) / 80, 80
    variance = sum((x - mean) ** 2 for x in r) / (n - 1)

    assert utility_of(r, "sharpe") == pytest.approx(mean / variance**0.5 * 252**0.5)
    assert utility_of(r, "mean_variance") == pytest.approx(
        252 * (mean - 1.5 * variance)
    )
    assert utility_of(np.zeros(80), "sharpe") == 0.0


def test_trials_are_ranked_on_the_sessions_that_all_of_them_decided():
    first, second, *rest = planted([0.0, 0.0], n_seeds=1)
    late = TrialReturns(1, 0, "u", second.excess.iloc[700:])

    judged = judge([first, late], {0: {}, 1: {}}, "sharpe", {})

    assert not rest
    assert judged.universes["u"].sessions == 800
    expected = utility_of(first.excess.iloc[700:], "sharpe")
    assert {r.number: r.utility for r in judged.ranking}[0] == expected


def test_a_sweep_without_any_trial_that_ended_well_says_why():
    with pytest.raises(BarsError, match=r"Every trial of the sweep failed\. a: Bad"):
        judge([], {}, "sharpe", {"a": "Bad"})
