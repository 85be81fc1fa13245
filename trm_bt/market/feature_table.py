"""The table of features: one entry each, from which everything else derives.

Names, formulas, proxies, inputs, lookbacks, and the labels and units of pictures and
pages are read here. See CONTRIBUTING.md for how to add a feature.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Final, Literal

from trm_bt.config import FeatureConfig
from trm_bt.market import formulas, proxies
from trm_bt.market.windows import Column

Unit = Literal[
    "index points", "decimal return", "share", "ratio to the mean", "coefficient"
]
Compute = Callable[..., Column]


@dataclass(frozen=True)
class Formula:
    """How a column of values is computed.

    Parameters
    ----------
    compute : callable
        A function of `trm_bt.market.formulas` or `trm_bt.market.proxies`. It takes the
        arrays of `inputs`, then the values of `lookbacks`.
    inputs : tuple of str
        Names of arrays, as `trm_bt.market.features.input_arrays` returns them.
    lookbacks : tuple of str
        Names of settings of `FeatureConfig`.
    of_returns : bool
        Whether a lookback counts returns, which need one more session.
    """

    compute: Compute
    inputs: tuple[str, ...]
    lookbacks: tuple[str, ...] = ()
    of_returns: bool = False

    def sessions_looked_back(self, config: FeatureConfig) -> tuple[int, ...]:
        """Return the value of each of `lookbacks`."""
        return tuple(getattr(config, name) for name in self.lookbacks)

    def n_sessions(self, config: FeatureConfig) -> int:
        """Return how many sessions one row needs, its own included."""
        return max(self.sessions_looked_back(config), default=1) + self.of_returns


@dataclass(frozen=True)
class Feature:
    """One feature, known at the close of its session.

    Parameters
    ----------
    name : str
        Name of the column, of the indicator's line and in the schema.
    label : str
        Name in pictures and pages.
    unit : str
        Unit of the values.
    formula : Formula
        Computed where all its inputs are there.
    proxy : Formula, optional
        Computed otherwise, from the three core roles alone.
    """

    name: str
    label: str
    unit: Unit
    formula: Formula
    proxy: Formula | None = None

    def formula_for(self, inputs: Set[str]) -> Formula:
        """Return the formula, or the proxy where `inputs` lack one that it reads."""
        if self.proxy is None or inputs >= set(self.formula.inputs):
            return self.formula
        return self.proxy


def _levels(compute: Compute, inputs: tuple[str, ...], *lookbacks: str) -> Formula:
    return Formula(compute, inputs, lookbacks)


def _moves(compute: Compute, inputs: tuple[str, ...], *lookbacks: str) -> Formula:
    return Formula(compute, inputs, lookbacks, of_returns=True)


_EQUITY: Final = ("equity",)
_MEMBERS: Final = ("members",)
_ESTIMATE: Final = ("equity", "volatility")

FEATURES: Final = (
    Feature(
        "vix_level",
        "VIX level",
        "index points",
        _levels(formulas.vix_level, ("volatility",)),
    ),
    Feature(
        "spy_returns_5d",
        "SPY return, 5 sessions",
        "decimal return",
        _moves(formulas.spy_returns, _EQUITY, "short_return_lookback"),
    ),
    Feature(
        "spy_returns_20d",
        "SPY return, 20 sessions",
        "decimal return",
        _moves(formulas.spy_returns, _EQUITY, "long_return_lookback"),
    ),
    Feature(
        "volume_ratio",
        "Volume ratio",
        "ratio to the mean",
        _levels(formulas.volume_ratio, ("volume",), "volume_lookback"),
    ),
    Feature(
        "market_breadth",
        "Market breadth",
        "share",
        _levels(formulas.market_breadth, _MEMBERS, "breadth_lookback"),
        _levels(proxies.market_breadth_proxy, _ESTIMATE, "breadth_proxy_lookback"),
    ),
    Feature(
        "correlation",
        "Correlation",
        "coefficient",
        _moves(formulas.correlation, ("equity", "bond"), "correlation_lookback"),
    ),
    Feature(
        "put_call_ratio",
        "Put/call ratio",
        "ratio to the mean",
        _levels(
            formulas.put_call_ratio,
            ("put_call",),
            "put_call_short_lookback",
            "put_call_long_lookback",
        ),
        _levels(
            formulas.put_call_ratio,
            ("volatility",),
            "put_call_short_lookback",
            "put_call_proxy_lookback",
        ),
    ),
    Feature(
        "gini_coefficient",
        "Gini coefficient",
        "coefficient",
        _moves(formulas.gini_coefficient, _MEMBERS, "gini_lookback"),
        _moves(proxies.gini_coefficient_proxy, _EQUITY, "gini_lookback"),
    ),
    Feature(
        "sector_dispersion",
        "Sector dispersion",
        "decimal return",
        _moves(formulas.sector_dispersion, _MEMBERS, "dispersion_lookback"),
        _moves(proxies.sector_dispersion_proxy, _ESTIMATE, "dispersion_lookback"),
    ),
    Feature(
        "signal_quality_score",
        "Signal quality score",
        "coefficient",
        _moves(formulas.signal_quality_score, _EQUITY, "efficiency_lookback"),
    ),
)
"""Every feature, in the order of the columns."""
