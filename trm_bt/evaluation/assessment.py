"""The schema of comparison.json: every figure of a comparison, typed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from trm_bt.evaluation.benchmarks import StrategyKind
from trm_bt.evaluation.claims import Lead
from trm_bt.evaluation.metrics import CalibrationBin, StrategyFigures
from trm_bt.evaluation.regression import Alpha
from trm_bt.evaluation.risk_skill import RiskSkill
from trm_bt.market.allocations import ALLOCATION_NAMES


@dataclass(frozen=True)
class ComparedFigures(StrategyFigures):
    """A row of the table of a comparison; figures are decimals, None where undefined.

    Parameters
    ----------
    kind, note, sessions_waiting
        As in `Benchmark`.
    regret : float or None
        Mean of `Comparison.regret`.
    accuracy : float or None
        Share of sessions on which it picked the best of the eight, of those on which it
        picks one and the best is known.
    lost_to_costs : float
        Share of the end value without costs that costs took.
    rejected_orders : int
    """

    kind: StrategyKind
    note: str
    sessions_waiting: int
    regret: float | None
    accuracy: float | None
    lost_to_costs: float
    rejected_orders: int


@dataclass(frozen=True)
class PeriodFigures:
    """What one strategy earned and risked in a period, as decimals."""

    total_return: float
    sharpe: float | None
    max_drawdown: float


@dataclass(frozen=True)
class Period:
    """A block of calendar years, first and last session as ISO dates."""

    start: str
    end: str
    sessions: int
    strategies: dict[str, PeriodFigures]


@dataclass(frozen=True)
class VolatilityLevel:
    """The allocator's mean target weights where the index closes in [low, high)."""

    low: float
    high: float | None
    sessions: int
    equity: float
    bond: float
    cash: float


@dataclass(frozen=True)
class SignificanceSettings:
    """How much chance is drawn.

    Parameters
    ----------
    n_draws : int
        Histories resampled for each test.
    n_random : int
        Random starts of the allocator's own weights.
    seed : int
        Seed of both, and of the benchmarks that are trained.
    n_earlier_trials : int
        Trials that were made before the log began.
    """

    n_draws: int = 2000
    n_random: int = 1000
    seed: int = 0
    n_earlier_trials: int = 0


@dataclass(frozen=True)
class ComparedSpan:
    """First and last session after the base as ISO dates, and their number."""

    start: str
    end: str
    sessions: int


@dataclass(frozen=True)
class DeflatedSharpe:
    """The allocator's Sharpe ratio against luck, and against the luck of many trials.

    Parameters
    ----------
    n_trials : int
        Distinct trials, with earlier ones and those before the shipped settings.
    best_by_luck : float
        Annual Sharpe ratio that the best of so many worthless trials would show.
    probabilistic, deflated : float
        Probability that the true ratio exceeds 0, and `best_by_luck`.
    skew, kurtosis : float
        Of the session returns.
    """

    n_trials: int
    best_by_luck: float
    probabilistic: float
    deflated: float
    skew: float
    kurtosis: float


@dataclass(frozen=True)
class RandomStarts:
    """Annual Sharpe ratios of the allocator's weights begun at `n` random sessions."""

    n: int
    sharpe_5: float
    sharpe_median: float
    sharpe_95: float
    share_as_good: float
    p_value: float


@dataclass(frozen=True)
class BreakEven:
    """Whether the allocator leads at no cost, and the cost at which the lead ends.

    `break_even_bps` is None where it never leads, or leads at every cost looked at.
    """

    is_ahead_free: bool
    break_even_bps: float | None


@dataclass(frozen=True)
class Overfitting:
    """Fate of the strategy that was the best on each half of the sessions.

    Parameters
    ----------
    probability : float
        Share of the halves whose best strategy is in the worse half of all strategies
        on the other sessions; about a half where luck alone picks.
    n_strategies, n_splits : int
        Strategies compared, and ways to halve the history.
    loss_probability : float
        Share of the halves whose best strategy has a Sharpe ratio below 0 on the other
        sessions.
    """

    probability: float
    n_strategies: int
    n_splits: int
    loss_probability: float


@dataclass(frozen=True)
class TrialsOverfitting(Overfitting):
    """`Overfitting` among the trials of the log, which holds `n_trials` in all."""

    n_trials: int


@dataclass(frozen=True)
class ChanceTests:
    """The tests of a comparison; None where nothing varies, or too few trials differ.

    Parameters
    ----------
    block : float
        Mean sessions of a resampled block.
    sharpe_intervals : dict of str to (low, high)
        Interval of each strategy's annual Sharpe ratio.
    leads : dict of str to Lead
        Leads of the allocator over each benchmark.
    tracking_error : float
        Annual volatility of the allocator minus its exposure-matched mix.
    alpha : Alpha or None
        Alpha over that mix.
    superiority : dict of str to float, or None
        p-value of "no strategy is better", for the allocator and for that mix.
    confidence_set : dict of str to float, or None
        p-value of each strategy, as `confidence_set` returns it.
    """

    block: float
    sharpe_intervals: dict[str, tuple[float, float]]
    leads: dict[str, Lead]
    tracking_error: float
    alpha: Alpha | None
    deflated: DeflatedSharpe | None
    random_starts: RandomStarts | None
    superiority: dict[str, float] | None
    confidence_set: dict[str, float] | None
    overfitting: Overfitting | None
    overfitting_of_trials: TrialsOverfitting | None


@dataclass(frozen=True)
class Assessment:
    """Every figure of a comparison; `tests` and `costs` are None on a short span.

    So is `risk_skill`, and where labels have no variances.
    """

    span: ComparedSpan
    settings: SignificanceSettings
    strategies: dict[str, ComparedFigures]
    best_fixed: str
    best_benchmark: str
    tests: ChanceTests | None
    costs: dict[str, BreakEven] | None
    subperiods: list[Period]
    regret_by_year: dict[str, dict[str, float]]
    calibration: list[CalibrationBin]
    confusion: list[list[int]]
    weights_by_volatility: list[VolatilityLevel]
    left_out: dict[str, str]
    risk_skill: RiskSkill | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord(Assessment):
    """What comparison.json holds: the figures, what they are of, and the verdict.

    Parameters
    ----------
    run : str
        Name of the run folder.
    bars : mapping
        Source, span and provenance of the bars compared on.
    is_same_bars : bool
        Whether the run was made on these bars.
    cash : str
        What cash earned.
    cost_bps, rebalance_band : float
        Settings of the run.
    schedule : str
        When decisions were traded.
    allocations : sequence of str
        What the allocator chooses from.
    verdict : list of str
        Sentences, the most important first.
    """

    run: str
    bars: Mapping[str, JsonValue]
    is_same_bars: bool
    cash: str
    cost_bps: float
    rebalance_band: float
    schedule: str = "bar"
    allocations: tuple[str, ...] = ALLOCATION_NAMES
    verdict: list[str]

    def to_dict(self) -> dict[str, JsonValue]:
        """Return plain JSON values."""
        return asdict(self)
