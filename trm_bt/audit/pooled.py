"""Further universes beside counterfactual bars, and the rows pooled from them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from trm_bt.audit.counterfactual import Counterfactual, with_other_future
from trm_bt.config import TRMConfig
from trm_bt.learning.dataset import Samples, known_by, samples_from_labels
from trm_bt.learning.pool import MIN_ROWS
from trm_bt.market.bars import Bars
from trm_bt.market.features import schema_for
from trm_bt.market.labels import features_and_labels

Pooled = Mapping[str, Bars]
"""Bars of further universes by name."""


def samples_by(
    bars: Bars, frozen_on: pd.Timestamp, config: TRMConfig, pooled: Pooled | None = None
) -> Samples:
    """Return the training rows known at the close of `frozen_on`, pooled or not."""

    def rows(given: Bars) -> Samples:
        return samples_from_labels(features_and_labels(given, config)[1])

    further = {name: rows(given) for name, given in (pooled or {}).items()}
    return known_by(replace(rows(bars), pooled=further), frozen_on)


def beside(
    given: Counterfactual, pooled: Pooled, config: TRMConfig, seed: int
) -> dict[str, Bars]:
    """Return further universes as they might have been beside counterfactual bars.

    They end at the cut where those do, and have another future where those have one; a
    universe that has too little to train on by the cut is left out there.

    Parameters
    ----------
    given : Counterfactual
        The bars of the first universe.
    pooled : mapping of str to Bars
        The further universes as they are.
    config : TRMConfig
        Settings of features and labels.
    seed : int
        Of the other futures.
    """
    cut, generator = given.cut, np.random.default_rng(seed)
    if given.kind not in ("cut", "altered"):
        return dict(pooled)
    found = {}
    for name, bars in pooled.items():
        n_needed = schema_for(bars, config.features).n_lookback + MIN_ROWS
        if (bars.sessions <= cut).sum() < n_needed:
            continue
        if given.kind == "cut":
            found[name] = bars.between(end=cut)
        elif cut < bars.sessions[-1]:
            found[name] = with_other_future(bars, cut, generator)
        else:
            found[name] = bars
    return found
