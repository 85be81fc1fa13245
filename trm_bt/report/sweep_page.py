"""The page of a sweep: verdict, settings against utility, ranking, and growth."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd
from pydantic import JsonValue

from trm_bt.evaluation.sweep import UTILITIES, SweepJudged
from trm_bt.report.sections.sweep_growth import sweep_growth
from trm_bt.report.sections.sweep_settings import sweep_settings
from trm_bt.report.templating import Section, fill, render_page

_SHOWN: Final = 100
"""Settings in the table; ranking.csv has all."""


@dataclass(frozen=True)
class SweepContent:
    """The page of a sweep.

    Parameters
    ----------
    judged : SweepJudged
        What summary.json holds.
    growth : mapping of str to DataFrame of shape (n_sessions, 2)
        By universe, growth of one unit in excess of cash of the best setting and of the
        median one, means over seeds.
    """

    judged: SweepJudged
    growth: Mapping[str, pd.DataFrame]

    @property
    def title(self) -> str:
        """The title counts the trials."""
        return f"A sweep of {self.judged.n_trials:,} trials"

    @property
    def varied(self) -> dict[str, list[JsonValue]]:
        """The values of each setting that varies, in order."""
        names = dict.fromkeys(n for row in self.judged.ranking for n in row.point)
        found = {
            name: [row.point.get(name) for row in self.judged.ranking] for name in names
        }
        distinct = {name: _distinct(values) for name, values in found.items()}
        return {name: values for name, values in distinct.items() if len(values) > 1}


def _distinct(values: list[JsonValue]) -> list[JsonValue]:
    """Return each value once: numbers by size, others as they are written."""
    seen = {repr(value): value for value in values}
    numbers = [v for v in seen.values() if isinstance(v, int | float)]
    others = [v for v in seen.values() if not isinstance(v, int | float)]
    return [*sorted(numbers), *sorted(others, key=repr)]


_SECTIONS: Final = (
    Section(partial(fill, "sweep", utilities=UTILITIES)),
    Section(sweep_settings),
    Section(partial(fill, "sweep_ranking", n_shown=_SHOWN)),
    Section(sweep_growth),
    Section(partial(fill, "sweep_luck")),
)


def render_sweep(content: SweepContent) -> str:
    """Return the page of a sweep as one HTML document without outside links."""
    return render_page(content.title, _SECTIONS, content)
