"""A run folder made of random walks, as `trm-bt run` would leave one behind."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from trm_bt.evaluation.metrics import (
    max_drawdown,
    session_returns,
    summarize_strategy,
    total_return,
)
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.crises import CRISES
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.runfolder.records import (
    STRATEGIES,
    BarsRecord,
    CashRecord,
    RunRecord,
    RunRequest,
    Summary,
)
from trm_bt.runfolder.store import write_json

ASSETS = ("equity", "bond", "cash")


def write_fake_run(folder, *, start, end, seed=3):
    """Write every file that the report reads, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    sessions = pd.bdate_range(start, end, name="session")
    equity, weights, classes = _walk(rng, sessions)
    orders = _orders(equity["trm"])
    covered = [crisis for crisis in CRISES if crisis.is_covered(sessions)]
    windows = {crisis.name: _window(equity, crisis) for crisis in covered}
    equity.to_parquet(folder / "equity.parquet")
    if windows:
        crisis_equity = pd.concat(windows, names=["crisis", "session"])
    else:
        crisis_equity = equity.iloc[:0].assign(crisis="").set_index("crisis", append=1)
        crisis_equity = crisis_equity.swaplevel()
    crisis_equity.to_parquet(folder / "crisis_equity.parquet")
    decisions = _decisions(rng, sessions, classes, weights, covered)
    for name, table in (("weights", weights.reset_index()), ("decisions", decisions)):
        _with_crises(table, covered).to_parquet(folder / f"{name}.parquet")
    _labels(rng, sessions, classes).to_parquet(folder / "labels.parquet")
    for number, crisis in enumerate(covered):
        _checkpoint(folder / "checkpoints" / crisis.name, number)
    orders.to_parquet(folder / "orders.parquet")
    summary = _summary(equity, orders, windows, sessions)
    write_json(folder / "summary.json", Summary.model_validate(summary))
    write_json(folder / "run.json", _run(covered, sessions))
    return folder


def _walk(rng, sessions):
    """Return equity by strategy, TRM's weights and the classes it chose."""
    n = len(sessions)
    calm = rng.normal([4e-4, 2e-4], [0.007, 0.006], (n, 2))
    crash = np.zeros(n, dtype=bool)
    for crisis in CRISES:
        crash |= crisis.mask(sessions)
    assets = calm + crash[:, None] * rng.normal([-2e-3, 5e-4], [0.012, 0.004], (n, 2))
    classes = np.repeat(rng.integers(0, 8, n // 20 + 1), 20)[:n]
    weights = ALLOCATION_WEIGHTS[classes]
    mixes = {
        "trm": weights,
        "spy": np.array([[1.0, 0.0, 0.0]]),
        "sixty_forty": np.array([[0.6, 0.4, 0.0]]),
        **dict(zip(ALLOCATION_NAMES, ALLOCATION_WEIGHTS[:, None, :], strict=True)),
    }
    returns = np.column_stack([assets, np.full(n, 0.03 / 252)])
    returns[0] = 0.0
    equity = pd.DataFrame(
        {
            name: 1e6 * np.cumprod(1 + (returns * mix).sum(1))
            for name, mix in mixes.items()
        },
        sessions,
    )
    frame = pd.DataFrame(weights, sessions, list(ASSETS))
    return equity, frame, classes


def _window(equity, crisis):
    inside = np.flatnonzero(crisis.mask(equity.index))
    return equity.iloc[inside[0] - 1 : inside[-1] + 1]


def _orders(trm):
    filled = trm.index[1::20]
    return pd.DataFrame(
        {
            "run": "out_of_sample",
            "strategy": "trm",
            "decided_on": trm.index[0::20][: len(filled)],
            "filled_on": filled,
            "asset": "equity",
            "size": 10.0,
            "price": 100.0,
            "value": trm[filled].to_numpy() * 0.1,
            "commission": 1.0,
            "status": "Completed",
        }
    )


def _named(kind, names):
    return [f"{kind}_{name}" for name in names]


def _decisions(rng, sessions, classes, weights, covered):
    n = len(sessions)
    probabilities = rng.dirichlet(np.ones(8), n)
    features = dict(zip(FEATURE_NAMES, rng.normal(2.0, 3.0, (10, n)), strict=True))
    newest = [[c.name for c in covered if c.start <= day][-1:] for day in sessions]
    first = covered[0].name if covered else "only"
    frame = pd.DataFrame(
        {
            "session": sessions,
            **features,
            "confidence": probabilities.max(axis=1),
            "halt_prob": rng.uniform(size=n),
            "n_steps": rng.integers(1, 5, n),
            "allocation": pd.array(classes, dtype="Int64"),
            "allocation_name": [ALLOCATION_NAMES[c] for c in classes],
            "model": [names[0] if names else first for names in newest],
            "n_models": 1,
            **dict(zip(_named("prob", ALLOCATION_NAMES), probabilities.T, strict=True)),
            **dict(zip(_named("target", ASSETS), weights.to_numpy().T, strict=True)),
        }
    ).assign(base_model=lambda table: table["model"])
    frame.loc[:30, ["allocation", "allocation_name"]] = [pd.NA, None]
    return frame


def _with_crises(table, covered):
    """Return the continuous rows, and each crisis's from two sessions before it."""
    parts = [table.assign(run="out_of_sample")]
    for crisis in covered:
        first = np.flatnonzero(table["session"] >= crisis.start)[0]
        rows = table.iloc[max(first - 2, 0) :]
        parts.append(rows[rows["session"] <= crisis.end].assign(run=crisis.name))
        if "model" in table:
            parts[-1][["model", "base_model"]] = crisis.name
    return pd.concat(parts, ignore_index=True).assign(strategy="trm")


def _labels(rng, sessions, classes):
    """Return labels that half of the decisions hit; the last six are not known yet."""
    winner = np.where(rng.uniform(size=len(sessions)) < 0.5, classes, 5)
    return pd.DataFrame({"winner": winner[:-6]}, sessions[:-6])


def _checkpoint(folder, number):
    folder.mkdir(parents=True)
    history = [
        {"epoch": i, "train_loss": 2.0 / i, "validation_loss": 2.1 / i + 0.1 * i}
        for i in range(1, 5)
    ]
    description = {
        "name": folder.name,
        "scaler": {
            "names": list(FEATURE_NAMES),
            "mean": [1.0 + number] * 10,
            "std": [2.0] * 10,
        },
        "training": {"best_epoch": 3, "majority_accuracy": 0.52, "history": history},
    }
    (folder / "checkpoint.json").write_text(json.dumps(description))
    table = "| a | b |\n|-|-|\n| 1 | 2 |\n"
    card = f"# {folder.name}\n\nA **card**.\n\n<script>alert(2)</script>\n\n{table}"
    (folder / "MODEL_CARD.md").write_text(card)


def _summary(equity, orders, windows, sessions):
    cash = pd.Series(0.03 / 252, sessions)
    nothing = orders.iloc[:0]
    return {
        "bars": _bars(sessions),
        "cash": "earned 3-month constant-maturity treasury yield",
        "cash_rate": CashRecord(source="3-month treasury yield", reason=""),
        "features": {
            "formula_version": 2,
            "members": [],
            "status": {
                "vix_level": "proxy",
                "volume_ratio": "observed",
                "put_call_ratio": "proxy",
            },
        },
        "out_of_sample": {
            "start": str(sessions[1].date()),
            "end": str(sessions[-1].date()),
            "sessions": len(sessions) - 1,
            "abstained": 31,
        },
        "strategies": {
            name: asdict(
                summarize_strategy(
                    equity[name],
                    orders=orders if name == "trm" else nothing,
                    cash_returns=cash,
                )
            )
            for name in STRATEGIES
        },
        "crises": [_crisis(crisis, windows.get(crisis.name)) for crisis in CRISES],
        "orders": {"submitted": 250, "completed": 250, "rejected": 0},
        "seed": 0,
    }


def _bars(sessions):
    return {
        "source": "Embedded sample, derived from S&P 500 and treasury-yield history; "
        "not SPY/TLT/VIX quotes",
        "derived": True,
        "start": str(sessions[0].date()),
        "end": str(sessions[-1].date()),
        "sessions": len(sessions),
        "sha256": "0" * 64,
        "roles": _roles(sessions),
    }


def _roles(sessions):
    span = {"start": str(sessions[0].date()), "end": str(sessions[-1].date())}
    estimated = "Estimated from the index's own ranges."
    return {
        "equity": {
            "source": "S&P 500 with yearly dividends spread evenly",
            **span,
            "status": "observed",
            "notes": ["Open is set to the close."],
        },
        "bond": {
            "source": "Par bond repriced from yields",
            **span,
            "status": "proxy",
            "notes": ["59 sessions without a yield earn carry only."],
        },
        "volatility": {
            "source": "Fitted to CBOE closes",
            **span,
            "status": "proxy",
            "notes": [estimated],
        },
    }


def _crisis(crisis, window):
    is_covered = window is not None
    return {
        "name": crisis.name,
        "start": str(crisis.start.date()),
        "end": str(crisis.end.date()),
        "sessions": len(session_returns(window["trm"])) if is_covered else None,
        "covered": is_covered,
        "reason": "" if is_covered else "not within the bars' span",
        "model": crisis.name if is_covered else None,
        "base_model": crisis.name if is_covered else None,
        "trained_from": "1990-04-02" if is_covered else None,
        "trained_until": str((crisis.start - pd.Timedelta(days=10)).date())
        if is_covered
        else None,
        "n_optimizer_steps": 240 if is_covered else None,
        "total_return": {n: total_return(window[n]) for n in STRATEGIES}
        if is_covered
        else None,
        "max_drawdown": {n: max_drawdown(window[n]) for n in STRATEGIES}
        if is_covered
        else None,
    }


def _run(covered, sessions):
    return RunRecord(
        finished=True,
        command="trm-bt run --bars sample --out runs/sample",
        request=RunRequest("sample"),
        versions={"python": "3.11.9", "trm-bt": "0.1.0", "torch": "2.13.0"},
        bars=BarsRecord.model_validate(_bars(sessions)),
        feature_schema=FeatureSchema(),
        seconds={
            "bars": 0.1,
            "features": 0.2,
            "labels": 2.5,
            "training": 101.0,
            "backtests": 38.3,
            "report": 20.5,
        },
        models=[
            model_facts(c.name, str((c.start - pd.Timedelta(days=10)).date()))
            for c in covered
        ],
    )


def model_facts(name, trained_until):
    """Return a model as run.json has it."""
    return {
        "name": name,
        "trained_from": "1990-04-02",
        "trained_until": trained_until,
        "n_rows": 1500,
        "n_train": 1275,
        "n_validation": 225,
        "n_purged": 6,
        "n_visited": 1275,
        "seed": 0,
        "n_optimizer_steps": 240,
        "batch_size": 256,
        "best_epoch": 3,
        "validation": {
            "accuracy": 0.51,
            "majority_accuracy": 0.52,
            "utility": 0.0004,
            "best_fixed_utility": 0.0003,
        },
    }
