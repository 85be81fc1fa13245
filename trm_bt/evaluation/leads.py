"""The leads of the allocator by Sharpe ratio, tested in one way wherever they stand."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from trm_bt.evaluation.benchmarks import ORACLE, OURS
from trm_bt.evaluation.claims import LEVEL, Lead
from trm_bt.evaluation.statistics import (
    Resampling,
    block_length,
    detectable,
    lead,
    resampled_sharpes,
    sharpe_ratios,
)
from trm_bt.market.bars import SESSIONS_PER_YEAR


def resampling_of(
    excess: pd.DataFrame, n_draws: int = 2000, seed: int = 0
) -> Resampling:
    """Return how histories are resampled: in blocks that suit the allocator's returns.

    Parameters
    ----------
    excess : DataFrame of shape (n_sessions, n_strategies)
        Session returns in excess of cash.
    n_draws, seed : int
        As in `Resampling`.
    """
    return Resampling(block_length(excess[OURS].to_numpy()), n_draws, seed)


def draws_of(excess: pd.DataFrame, resampling: Resampling) -> dict[str, np.ndarray]:
    """Return annual Sharpe ratios in resampled histories, (n_draws,) by strategy.

    A strategy that holds cash in some resampled history has none.
    """
    resampled = resampled_sharpes(excess.to_numpy(), resampling).T
    named = zip(map(str, excess), resampled, strict=True)
    return {name: draws for name, draws in named if np.isfinite(draws).all()}


def leads_of(
    excess: pd.DataFrame, draws: Mapping[str, np.ndarray], of_a_run: Collection[str]
) -> dict[str, Lead]:
    """Return the allocator's lead over each benchmark that has draws.

    Parameters
    ----------
    excess : DataFrame of shape (n_sessions, n_strategies)
        Session returns in excess of cash.
    draws : mapping of str to ndarray of shape (n_draws,)
        What `draws_of` returns.
    of_a_run : collection of str
        Benchmarks that every run holds. They are corrected together, and the others
        together, so that a run and its comparison say the same; what is known only
        afterwards is not corrected.

    Notes
    -----
    `detectable` is of the level that Holm asks of the smallest p-value, that of the
    test over the number corrected together: after others have passed, less suffices.
    """
    if OURS not in draws:
        return {}
    annual = sharpe_ratios(excess.to_numpy()) * SESSIONS_PER_YEAR**0.5
    ratios = dict(zip(map(str, excess), annual.tolist(), strict=True))
    found = {
        name: lead(ratios[OURS] - ratios[name], draws[OURS] - draws[name])
        for name in draws
        if name != OURS
    }
    families = (
        [name for name in found if name in of_a_run],
        [name for name in found if name not in of_a_run and name != ORACLE],
    )
    from statsmodels.stats.multitest import multipletests  # seconds of imports

    for family in filter(None, families):
        p_values = [found[name].p_value for name in family]
        corrected = multipletests(p_values, method="holm")[1].tolist()
        for name, p_value in zip(family, corrected, strict=True):
            shown = detectable(draws[OURS] - draws[name], LEVEL / len(family))
            found[name] = replace(found[name], p_corrected=p_value, detectable=shown)
    return found
