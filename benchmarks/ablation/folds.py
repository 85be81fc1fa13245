"""The purged walk-forward: expanding training rows, four test spans."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.learning.dataset import Samples

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
