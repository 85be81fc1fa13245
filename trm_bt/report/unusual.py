"""Inputs outside the training range of a model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from trm_bt.figures import count, number
from trm_bt.report.colours import FULL_COLOUR
from trm_bt.report.models import ModelText
from trm_bt.report.templating import label


def unusual_inputs(
    decisions: pd.DataFrame, models: Mapping[str, ModelText]
) -> list[str]:
    """Say how often an input lay outside the range of the training, and how far.

    Parameters
    ----------
    decisions : DataFrame of shape (n_sessions, n_columns)
        With `base_model` and a column for each feature, indexed by session.
    models : mapping of str to ModelText
        A model without a checkpoint is left out, and one without a range counts no
        session.
    """
    parts = [
        (models[str(name)], rows)
        for name, rows in decisions.groupby("base_model", sort=False)
        if name in models
    ]
    if not parts:
        return []
    n_outside = sum(int(model.is_outside(rows).sum()) for model, rows in parts)
    scores = pd.concat([model.standardised(rows) for model, rows in parts])
    values = scores.to_numpy()
    row, column = divmod(int(np.nanargmax(np.abs(values))), values.shape[1])
    name, worst = label(str(scores.columns[column])), float(values[row, column])
    session = pd.DatetimeIndex(scores.index)[row].date()
    said = []
    if n_outside:
        said.append(
            f"On {count(n_outside)} of {count(len(decisions))} sessions at least one "
            "input lay outside the training range of the deciding model."
        )
    if abs(worst) > FULL_COLOUR:
        said.append(
            f"Most extreme input: {name} on {session}, "
            f"{number(worst, 1)} standard deviations from its training mean."
        )
    return said
