"""A sweep judged: its settings ranked by a utility, and what of it is luck.

Trials of one universe are held against each other on the sessions that all of them
decided. Figures that need `MIN_SESSIONS` sessions are None below them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import pandas as pd
from pydantic import JsonValue

from trm_bt.config import SweepUtility
from trm_bt.errors import BarsError
from trm_bt.evaluation.assessment import DeflatedSharpe, TrialsOverfitting
from trm_bt.evaluation.claims import LEVEL
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.evaluation.overfitting import distinct, overfitting_of_trials
from trm_bt.evaluation.significance import deflate
from trm_bt.evaluation.statistics import (
    Resampling,
    block_length,
    sharpe_ratios,
    superiority,
)
from trm_bt.evaluation.trials import sharpe_variance
from trm_bt.evaluation.verdict import p_text
from trm_bt.figures import count, number, percent
from trm_bt.market.bars import SESSIONS_PER_YEAR

RISK_AVERSION: Final = 3.0
UTILITIES: Final[Mapping[SweepUtility, str]] = {
    "sharpe": "annual Sharpe ratio in excess of cash",
    "mean_variance": "annual mean in excess of cash minus 1.5 times the variance",
}
"""What each utility is, in words."""
_N_DRAWS: Final = 1000
_YEAR: Final = float(np.sqrt(SESSIONS_PER_YEAR))


@dataclass(frozen=True)
class TrialReturns:
    """One trial: its setting by number, its seed, its bars, and what it earned.

    `excess` holds session returns in excess of cash, shape (n_sessions,).
    """

    setting: int
    seed: int
    universe: str
    excess: pd.Series


@dataclass(frozen=True)
class RankedSetting:
    """One setting of a sweep.

    Parameters
    ----------
    number : int
        Its place in the list of points.
    point : dict of str to JSON value
        Its values by dotted name.
    utility : float
        Mean over seeds and universes.
    over_seeds : float or None
        Standard deviation over the seeds, mean over the universes; None of one seed.
    by_universe : dict of str to float
        Mean over the seeds.
    lowest, highest : float
        Of all its trials.
    """

    number: int
    point: dict[str, JsonValue]
    utility: float
    over_seeds: float | None
    by_universe: dict[str, float]
    lowest: float
    highest: float


@dataclass(frozen=True)
class UniverseJudged:
    """What luck has to do with the best setting on one set of bars.

    Parameters
    ----------
    start, end : str
        First and last session that all trials decided, as ISO dates.
    sessions : int
    superiority : float or None
        p-value of "no setting is better than the median one".
    deflated : DeflatedSharpe or None
        Of the best setting's mean over seeds, by all trials of the sweep.
    overfitting : TrialsOverfitting or None
        Among the trials on these bars.
    """

    start: str
    end: str
    sessions: int
    superiority: float | None
    deflated: DeflatedSharpe | None
    overfitting: TrialsOverfitting | None


@dataclass(frozen=True)
class SweepJudged:
    """`summary.json` of a sweep.

    Parameters
    ----------
    utility : str
        What settings are ranked by.
    n_trials, n_seeds : int
        Trials that ended well, and seeds of each setting.
    ranking : list of RankedSetting
        The best first; a setting whose trials did not all end well is left out.
    median : int
        Number of the setting in the middle, of two the lower one.
    universes : dict of str to UniverseJudged
    failed : dict of str to str
        Error by trial.
    verdict : list of str
        Sentences, the most important first.
    """

    utility: SweepUtility
    n_trials: int
    n_seeds: int
    ranking: list[RankedSetting]
    median: int
    universes: dict[str, UniverseJudged]
    failed: dict[str, str]
    verdict: list[str]

    def to_dict(self) -> dict[str, JsonValue]:
        """Return plain JSON values."""
        return asdict(self)


def utility_of(excess: pd.Series | np.ndarray, name: SweepUtility) -> float:
    r"""Return the utility of session returns in excess of cash, shape (n_sessions,).

    Notes
    -----
    Of returns r, with :math:`\gamma = 3`:
    :math:`252 (\mathrm{mean}(r) - \gamma/2 \, \mathrm{var}(r))`. A Sharpe ratio
    without risk, in cash, is 0.
    """
    values = np.asarray(excess, dtype=np.float64)
    if name == "sharpe":
        return float(np.nan_to_num(sharpe_ratios(values[:, np.newaxis])[0])) * _YEAR
    penalty = 0.5 * RISK_AVERSION * values.var(ddof=1)
    return float(SESSIONS_PER_YEAR * (values.mean() - penalty))


def common_returns(trials: Sequence[TrialReturns]) -> dict[str, pd.DataFrame]:
    """Return what trials earned on the sessions they share, by universe.

    Returns
    -------
    dict of str to DataFrame of shape (n_sessions, n_trials)
        Columns are pairs of setting and seed.

    Raises
    ------
    BarsError
        If the trials of a universe have fewer than two sessions in common.
    """
    tables = {}
    for universe in dict.fromkeys(trial.universe for trial in trials):
        columns = {
            (trial.setting, trial.seed): trial.excess
            for trial in trials
            if trial.universe == universe
        }
        table = pd.concat(columns, axis=1, join="inner", names=["setting", "seed"])
        if len(table) < 2:
            raise BarsError(
                f"{universe}: the trials of a sweep must decide two sessions or more "
                f"in common, got {len(table)}. Give `walkforward.first_decision`."
            )
        tables[universe] = table
    return tables


def mean_over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a setting's mean over seeds, of a table of `common_returns`."""
    return table.T.groupby(level="setting", sort=False).mean().T


def judge(
    trials: Sequence[TrialReturns],
    points: Mapping[int, dict[str, JsonValue]],
    utility: SweepUtility,
    failed: Mapping[str, str],
) -> SweepJudged:
    """Rank the settings of a sweep and say what of it may be luck.

    Parameters
    ----------
    trials : sequence of TrialReturns
        Those that ended well.
    points : mapping of int to Point
        The values of each setting.
    utility : {"sharpe", "mean_variance"}
    failed : mapping of str to str
        Error by name of the trials that failed.

    Raises
    ------
    BarsError
        If no setting has all its trials, or they have no sessions in common.
    """
    counts = pd.Series([t.setting for t in trials]).value_counts()
    whole = [t for t in trials if counts[t.setting] == counts.max()]
    if not whole:
        first = next(iter(failed.items()), ("", "no trial was run"))
        raise BarsError(f"Every trial of the sweep failed. {first[0]}: {first[1]}")
    tables = common_returns(whole)
    utilities = pd.DataFrame(
        {
            universe: {column: utility_of(table[column], utility) for column in table}
            for universe, table in tables.items()
        }
    ).rename_axis(["setting", "seed"])
    ranking = _ranked(utilities, points)
    best, median = ranking[0].number, ranking[len(ranking) // 2].number
    judged = SweepJudged(
        utility=utility,
        n_trials=len(trials),
        n_seeds=utilities.index.get_level_values("seed").nunique(),
        ranking=ranking,
        median=median,
        universes={
            universe: _judged(table, best, median, len(trials))
            for universe, table in tables.items()
        },
        failed=dict(failed),
        verdict=[],
    )
    judged.verdict.extend(_verdict(judged))
    return judged


def _ranked(
    utilities: pd.DataFrame, points: Mapping[int, dict[str, JsonValue]]
) -> list[RankedSetting]:
    """Return the settings, the best first; of equal ones the first given."""
    rows = []
    settings = utilities.index.get_level_values("setting")
    for setting in dict.fromkeys(settings.tolist()):
        own = utilities[settings == setting]
        spread = own.std(ddof=1).mean() if len(own) > 1 else None
        rows.append(
            RankedSetting(
                number=setting,
                point=points[setting],
                utility=float(own.mean().mean()),
                over_seeds=None if spread is None else float(spread),
                by_universe={str(k): float(v) for k, v in own.mean().items()},
                lowest=float(own.min().min()),
                highest=float(own.max().max()),
            )
        )
    return sorted(rows, key=lambda row: (-row.utility, row.number))


def _judged(
    table: pd.DataFrame, best: int, median: int, n_trials: int
) -> UniverseJudged:
    """Test the best setting on one set of bars."""
    start, end = (table.index[row].date().isoformat() for row in (0, -1))
    if len(table) < MIN_SESSIONS:
        return UniverseJudged(start, end, len(table), None, None, None)
    pooled = mean_over_seeds(table)
    flat = table.set_axis([str(pair) for pair in table.columns], axis=1)
    ratios = sharpe_ratios(table.to_numpy()) * _YEAR
    known = [ratio for ratio in ratios.tolist() if not np.isnan(ratio)]
    return UniverseJudged(
        start,
        end,
        len(table),
        _superiority(pooled, median),
        deflate(pooled[best].to_numpy(), sharpe_variance(known, len(table)), n_trials),
        overfitting_of_trials(flat, n_trials),
    )


def _superiority(pooled: pd.DataFrame, median: int) -> float | None:
    """Test whether any setting is better than the median one."""
    order = [median, *[setting for setting in pooled if setting != median]]
    names, scaled = distinct(pooled[order])
    if len(names) < 2 or names[0] != str(median):
        return None
    resampling = Resampling(block_length(scaled[:, 0]), _N_DRAWS)
    return superiority(scaled[:, 0], scaled[:, 1:], resampling)


def _verdict(judged: SweepJudged) -> list[str]:
    """Say what the ranking is worth."""
    best = judged.ranking[0]
    settings = ", ".join(f"{k} = {v}" for k, v in best.point.items()) or "as given"
    spread = ""
    if best.over_seeds is not None:
        spread = f" (standard deviation over seeds {number(best.over_seeds)})"
    sentences = [
        f"The best of {count(len(judged.ranking))} settings by "
        f"{UTILITIES[judged.utility]} is {settings}: {number(best.utility)}{spread}, "
        f"its trials from {number(best.lowest)} to {number(best.highest)}."
    ]
    if len(judged.ranking) == 1:
        return [*sentences, "There is no other setting to compare it with."]
    sentences.insert(0, _against_median(judged))
    for universe, found in judged.universes.items():
        sentences += _luck(universe, found)
    return sentences


def _against_median(judged: SweepJudged) -> str:
    middle = next(row for row in judged.ranking if row.number == judged.median)
    lead = judged.ranking[0].utility - middle.utility
    p_values = {name: found.superiority for name, found in judged.universes.items()}
    tests = "; ".join(
        f"{name}: {'not tested' if p is None else p_text(p)}"
        for name, p in p_values.items()
    )
    what = f"{number(lead)} ahead of the median setting's {number(middle.utility)}"
    if all(p is not None and p <= LEVEL for p in p_values.values()):
        return (
            f"The best setting is better than the median one: {what}, and Hansen's "
            f"test finds a better one than the median on all bars ({tests})."
        )
    if None in p_values.values():
        return (
            "Nothing shows that the best setting is better than the median one: "
            f"{what}, and luck cannot be tested on so few sessions ({tests})."
        )
    if any(p <= LEVEL for p in p_values.values() if p is not None):
        return (
            f"The best setting is no better than the median one on all bars: {what}, "
            f"and Hansen's test finds a better one than the median on some of them "
            f"alone ({tests})."
        )
    return (
        f"The best setting is no better than the median one: {what}, which the luck of "
        f"picking the best explains (Hansen's test, {tests}). This is no reason to "
        "change the settings you had."
    )


def _luck(universe: str, found: UniverseJudged) -> list[str]:
    """Say what luck alone would show on some bars."""
    said = []
    if found.deflated is not None:
        by_luck, chance = found.deflated.best_by_luck, found.deflated.deflated
        said.append(
            f"{universe}: the best of {count(found.deflated.n_trials)} worthless "
            f"trials would show a Sharpe ratio of {number(by_luck)}; the probability "
            f"that the best setting's true one is above that is {percent(chance)}."
        )
    if found.overfitting is not None:
        said.append(
            f"{universe}: the trial that was best on one half of the sessions is in "
            "the worse half on the other in "
            f"{percent(found.overfitting.probability)} of the ways to halve them; luck "
            "alone would give about 50%."
        )
    return said
