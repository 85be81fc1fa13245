"""What counts as a difference, and where the first one is said to be."""

import numpy as np
import pandas as pd
import pytest

from trm_bt.audit.differences import (
    Agreement,
    DatedTable,
    compare_tables,
    table_by_session,
)

SESSIONS = pd.bdate_range("2024-01-02", periods=4)
VALUES = {
    "price": [1.0, 2.0, np.nan, 400.0],
    "count": [1, 2, 3, 4],
    "is_up": [True, False, True, True],
    "name": ["a", "b", None, "d"],
    "known_on": SESSIONS + pd.Timedelta(days=7),
}


def table(**changes):
    """Return the table with one value of some columns changed: name=(row, value)."""
    frame = pd.DataFrame(VALUES, index=SESSIONS)
    for name, (row, value) in changes.items():
        column = list(frame[name])
        column[row] = value
        frame[name] = column
    return table_by_session(frame, "values")


def test_equal_tables_do_not_differ():
    for rtol in (0.0, 1e-6):
        assert compare_tables(table(), table(), rtol) == Agreement(20, 0.0, None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"price": (1, 2.5)}, "2024-01-03 price: 2 against 2.5"),
        ({"price": (2, 7.0)}, "2024-01-04 price: nan against 7"),
        ({"price": (0, np.nan)}, "2024-01-02 price: 1 against nan"),
        ({"price": (0, np.inf)}, "2024-01-02 price: 1 against inf"),
        ({"count": (3, 5)}, "2024-01-05 count: 4 against 5"),
        ({"is_up": (1, True)}, "2024-01-03 is_up: False against True"),
        ({"name": (1, "c")}, "2024-01-03 name: b against c"),
        ({"name": (0, None)}, "2024-01-02 name: a against {missing}"),
        ({"name": (2, "c")}, "2024-01-04 name: {missing} against c"),
        (
            {"known_on": (0, pd.Timestamp("2024-01-10"))},
            "2024-01-02 known_on: 2024-01-09 00:00:00 against 2024-01-10 00:00:00",
        ),
        ({"count": (3, 5), "price": (1, 3.0)}, "2024-01-03 price: 2 against 3"),
    ],
)
def test_one_changed_value_is_found(change, expected):
    missing = table().values["name"].iloc[2]  # None, of pandas 3 nan
    found = compare_tables(table(), table(**change), 1e-6).difference
    assert str(found) == expected.format(missing=missing)


def test_numbers_may_differ_by_a_share_of_themselves_and_of_the_median():
    # prices are 1, 2 and 400: their median is 2
    for row, price in ((0, 1.0), (3, 400.0)):
        limit = 1e-6 * (price + 2.0)
        for gap, is_same in ((0.99 * limit, True), (1.01 * limit, False)):
            agreement = compare_tables(table(), table(price=(row, price + gap)), 1e-6)
            assert (agreement.difference is None) == is_same
            assert agreement.largest == pytest.approx(gap / (price + 2.0), rel=1e-5)
    exact = compare_tables(table(), table(price=(0, np.nextafter(1.0, 2.0))), 0.0)
    assert exact.difference.whole == "1"
    assert exact.difference.other == "1.0000000000000002"


def test_one_large_number_hides_nothing_of_the_others():
    returns = [1e6, 0.010, -0.020, 0.015]
    whole, other = (
        table_by_session(pd.Series([*returns[:3], last], SESSIONS), "values")
        for last in (0.015, 0.016)
    )
    found = compare_tables(whole, other, 1e-6).difference
    assert str(found) == "2024-01-05 value: 0.015 against 0.016"


def test_values_of_no_scale_are_each_held_against_themselves():
    pair = [
        DatedTable(
            pd.DataFrame({"value": [3e6, 1e-3 + gap]}), SESSIONS[:2], has_scale=False
        )
        for gap in (0.0, 1e-5)
    ]
    assert compare_tables(*pair, 1e-6).difference.session == SESSIONS[1]
    scaled = [DatedTable(one.values, one.known_on) for one in pair]
    assert compare_tables(*scaled, 1e-6).difference is None


def test_what_rounding_leaves_near_zero_is_no_difference():
    whole, other = (
        table_by_session(pd.Series([1.0, -2.0, near, 3.0], SESSIONS), "values")
        for near in (1e-16, -3e-16)
    )
    assert compare_tables(whole, other, 1e-6).difference is None
    assert compare_tables(whole, other, 0.0).difference is not None


def test_a_hole_that_turns_truths_into_objects_is_no_difference():
    is_up = pd.Series([True, False, True, None], SESSIONS, dtype=object)
    whole, other = (
        table_by_session(values, "values")
        for values in (is_up, is_up.iloc[:3].astype(bool))
    )
    early = whole.between(None, SESSIONS[2])
    assert early.values["value"].dtype == object
    assert compare_tables(early, other, 1e-6).difference is None
    flipped = DatedTable(~other.values, other.known_on)
    found = compare_tables(early, flipped, 1e-6).difference
    assert str(found) == "2024-01-02 value: True against False"
    assert "(dtype)" in str(compare_tables(early, other, 0.0).difference)


def test_rows_and_columns_that_one_side_lacks_are_found():
    whole = table()
    for rows, expected in (
        ([0, 2, 3], "2024-01-03 (row): present against absent"),
        ([0, 1], "2024-01-04 (row): present against absent"),
    ):
        fewer = DatedTable(whole.values.iloc[rows], whole.known_on[rows])
        assert str(compare_tables(whole, fewer, 1e-6).difference) == expected
        found = compare_tables(fewer, whole, 1e-6).difference
        assert str(found) == expected.replace(
            "present against absent", "absent against present"
        )
    narrow = DatedTable(whole.values.drop(columns="count"), whole.known_on)
    found = str(compare_tables(whole, narrow, 1e-6).difference)
    assert found == "2024-01-02 count (column): present against absent"
    assert compare_tables(narrow, whole, 1e-6).difference.whole == "absent"


def test_a_dtype_counts_where_numbers_must_be_equal():
    whole = table()
    other = DatedTable(whole.values.astype({"count": float}), whole.known_on)
    assert compare_tables(whole, other, 1e-6).difference is None
    found = compare_tables(whole, other, 0.0).difference
    assert str(found) == "2024-01-02 count (dtype): int64 against float64"
    words = DatedTable(whole.values.astype({"count": str}), whole.known_on)
    assert "count (dtype)" in str(compare_tables(whole, words, 1e-6).difference)


def test_nothing_known_yet_is_no_difference():
    empty = DatedTable(pd.DataFrame(), pd.DatetimeIndex([]))
    assert compare_tables(
        empty, table().between(None, SESSIONS[0] - SESSIONS.freq), 0.0
    ) == (Agreement(0, 0.0, None))


def test_events_are_changes_of_what_seldom_changes():
    sessions = pd.bdate_range("2024-01-02", periods=40)
    flag = np.zeros(40)
    flag[20:22] = 1
    frame = pd.DataFrame({"flag": flag, "price": np.arange(40.0)}, index=sessions)
    events = table_by_session(frame, "values").events()
    assert events.equals(sessions[[0, 20, 22]])
