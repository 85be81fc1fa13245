"""Tables as plain structures, which any JSON writer takes."""

import pandas as pd


def plain_records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table as dicts: ISO dates, None for what is missing.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        Its index becomes the key "session" if it has that name.

    Examples
    --------
    >>> day = pd.DatetimeIndex(["2024-01-02"], name="session")
    >>> plain_records(pd.DataFrame({"price": [float("nan")], "n": [2]}, day))
    [{'session': '2024-01-02', 'price': None, 'n': 2}]
    """
    plain = table.reset_index() if table.index.name == "session" else table.copy()
    for name in plain.select_dtypes("datetime"):
        plain[name] = plain[name].dt.strftime("%Y-%m-%d")
    rows = plain.astype(object).to_dict("records")
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in rows
    ]
