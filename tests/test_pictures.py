"""Pictures as files: what must be seen is looked for among their pixels."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from trm_bt.market.features import FEATURE_NAMES, Features, FeatureSchema
from trm_bt.report import feature_picture, loss_curve
from trm_bt.report.colours import LIGHT


def features_from(start: str, n_proxies: int, n_sessions: int = 300) -> Features:
    sessions = pd.bdate_range(start, periods=n_sessions)
    rows = np.random.default_rng(0).normal(size=(n_sessions, 10))
    status = ("proxy",) * n_proxies + ("observed",) * (10 - n_proxies)
    frame = pd.DataFrame(rows, sessions, list(FEATURE_NAMES))
    return Features(frame, FeatureSchema(status=status), {})


def inked(picture, name: str) -> np.ndarray:
    """Return where the picture has a colour, shape (height, width)."""
    colour = [int(LIGHT[name][i : i + 2], 16) for i in (1, 3, 5)]
    pixels = np.round(255 * imread(picture)[..., :3]).astype(int)
    return (pixels == colour).all(axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "n_sessions", "n_proxies", "is_shaded"),
    [
        pytest.param("2007-10-01", 300, 0, True, id="half a year, all observed"),
        pytest.param("2009-06-01", 550, 3, True, id="two sessions, three proxies"),
        pytest.param("2013-06-03", 300, 10, False, id="no crisis, all proxies"),
    ],
)
def test_feature_picture_shades_crises_and_colours_proxies(
    start, n_sessions, n_proxies, is_shaded, tmp_path
):
    features = features_from(start, n_proxies, n_sessions)
    picture = tmp_path / "features.png"
    feature_picture(features, picture)
    crisis = inked(picture, "crisis")
    half = crisis.shape[1] // 2
    for column in (crisis[:, :half], crisis[:, half:]):
        shaded_height = column.any(axis=1).sum()
        assert (shaded_height > 0.6 * len(column)) == is_shaded
    assert (n_proxies > 0) == (inked(picture, "spy").sum() > 500)
    assert (n_proxies < 10) == (inked(picture, "trm").sum() > 500)


def test_loss_curve_is_a_picture_with_its_baseline_dashed():
    history = [
        {"epoch": i, "train_loss": 1 / i, "validation_loss": 2 / i, "note": "x"}
        for i in range(1, 6)
    ]
    plain, held = loss_curve(history), loss_curve(history, {"loss": 1.5})
    assert plain[:8] == held[:8] == b"\x89PNG\r\n\x1a\n"
    assert plain != held


def test_the_kept_epoch_is_marked_in_every_panel():
    history = [
        {"epoch": i, "train_loss": 1 / i, "validation_loss": 2 / i, "accuracy": 0.5}
        for i in range(1, 6)
    ]
    plain, marked = (
        imread(io.BytesIO(loss_curve(history, best_epoch=epoch))) for epoch in (None, 3)
    )
    changed = (plain != marked).any(axis=-1)
    upright = changed.sum(axis=0) > 0.2 * len(changed)  # a dotted line is half ink
    half = changed.shape[1] // 2
    assert upright[:half].any()
    assert upright[half:].any()
