"""The sessions of the exchange before 1970, whose rules the calendar leaves out."""

import pandas as pd
import pytest

from trm_bt.feeds.exchange import nyse_sessions


@pytest.mark.parametrize(
    "holiday",
    [
        *("1962-02-22", "1962-12-25", "1963-11-05", "1963-11-25", "1964-05-29"),
        *("1967-05-30", "1968-01-01", "1968-06-12", "1968-07-05", "1969-02-21"),
        *("1969-07-21", "1970-01-01"),
    ],
)
def test_the_exchange_was_closed(holiday):
    day = pd.Timestamp(holiday)
    around = nyse_sessions(day - pd.Timedelta(days=5), day + pd.Timedelta(days=5))
    assert day not in around
    assert len(around) >= 4


def test_years_before_1970_have_their_published_number_of_sessions():
    """226 in 1968: closed on Wednesdays from June on, for paperwork."""
    sessions = nyse_sessions(pd.Timestamp("1962-01-01"), pd.Timestamp("1969-12-31"))
    counts = sessions.year.value_counts().sort_index().tolist()
    assert counts == [252, 251, 253, 252, 252, 251, 226, 250]
