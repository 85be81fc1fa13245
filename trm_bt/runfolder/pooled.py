"""What a further universe gave to a training."""

from pydantic import BaseModel, ConfigDict

from trm_bt.fields import Day


class PooledRecord(BaseModel):
    """Its rows, as `trm_bt.learning.records.PooledRows` says.

    Parameters
    ----------
    name : str
        What its bars are called.
    train_start, train_end : date
        First and last deciding session of its training rows.
    n_train : int
        Its training rows.
    n_effective : float
        What they count for.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str
    train_start: Day
    train_end: Day
    n_train: int
    n_effective: float
