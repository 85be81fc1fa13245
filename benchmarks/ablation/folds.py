"""The purged walk-forward: expanding training rows, four test spans."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pandas as pd
import torch

from trm_bt import load_bars
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.errors import BarsWarning
from trm_bt.learning.dataset import Samples, samples_from_labels
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels

LAST_DAY: Final = "2011-12-31"
"""No bar after it is loaded: what is learnt here chooses settings."""

TEST_SPANS: Final = (
    ("2000-01-01", "2002-12-31"),
    ("2003-01-01", "2005-12-31"),
    ("2006-01-01", "2008-12-31"),
    ("2009-01-01", LAST_DAY),
)


@dataclass(frozen=True)
class Fold:
    """One test span and the rows that may be learnt from before it.

    Parameters
    ----------
    name : str
        Years of the test span.
    known : Samples
        Rows whose outcome was known strictly before the first test session.
    test : Samples
        Rows decided within the span.
    """

    name: str
    known: Samples
    test: Samples


def make_folds(learnt: Samples, judged: Samples) -> list[Fold]:
    """Cut rows into folds.

    Parameters
    ----------
    learnt, judged : Samples
        The same sessions, labelled to learn from and labelled to be judged by.
    """
    folds = []
    for start, end in TEST_SPANS:
        first, last = pd.Timestamp(start), pd.Timestamp(end)
        is_tested = (judged.sessions >= first) & (judged.sessions <= last)
        test = judged.where(np.asarray(is_tested))
        known = learnt.where(np.asarray(learnt.known_on < test.sessions[0]))
        folds.append(Fold(f"{start[:4]}-{end[:4]}", known, test))
    return folds


def load_folds(source: str) -> Callable[[LabelConfig], list[Fold]]:
    """Return a function from label settings to folds, all on the same sessions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BarsWarning)
        bars = load_bars(source, end=LAST_DAY)
    features = compute_features(bars)

    @cache
    def label(config: LabelConfig) -> Samples:
        return samples_from_labels(compute_labels(bars, features, config))

    @cache
    def folds(config: LabelConfig) -> list[Fold]:
        return make_folds(label(config), label(LabelConfig()))

    return folds


def mark_of(folds: Sequence[Fold]) -> str:
    """Return a digest of what decides every training: rows, settings, torch itself."""
    settings = TRMConfig.preset("seed").model_dump_json(
        include={"labels", "model", "training"}
    )
    digest = hashlib.sha256(f"{settings}{torch.__version__}".encode())
    for rows in (part for fold in folds for part in (fold.known, fold.test)):
        for array in (rows.features, rows.returns, rows.winners):
            digest.update(array.tobytes())
    return digest.hexdigest()
