"""The verdict says what the numbers force, and no more."""

import copy

import pytest

from trm_bt.evaluation.verdict import p_text, signed, verdict


def lead(difference, p_value):
    low, high = difference - 0.1, difference + 0.1
    return {"difference": difference, "low": low, "high": high, "p_value": p_value}


JUDGED = {
    "span": {"sessions": 5000},
    "best_fixed": "defensive",
    "best_rival": "inverse_volatility",
    "strategies": {
        "trm": {"sharpe": 0.5, "accuracy": 0.49},
        "exposure_matched": {"sharpe": 0.48},
        "spy": {"sharpe": 0.4},
        "sixty_forty": {"sharpe": 0.55},
        "mean_variance": {"sharpe": 0.47},
        "defensive": {"sharpe": 0.56},
        "inverse_volatility": {"sharpe": 0.68},
    },
    "confusion": [[200, 0], [0, 300]],
    "tests": {
        "leads": {
            "exposure_matched": lead(0.02, 0.41),
            "spy": lead(0.1, 0.012),
            "sixty_forty": lead(-0.05, 0.9),
            "mean_variance": lead(0.03, 0.42),
            "defensive": lead(-0.06, 0.91),
            "inverse_volatility": lead(-0.18, 0.99),
        },
        "tracking_error": 0.03,
        "alpha": {"alpha_annual": 0.001, "t_value": 0.31, "p_value": 0.38},
        "deflated": {"n_trials": 46, "best_by_luck": 0.44, "deflated": 0.62},
        "random_starts": {"n": 1000, "share_as_good": 0.59, "p_value": 0.59},
        "superiority": {"trm": 0.29},
        "confidence_set": {"trm": 0.9, "spy": 0.05, "defensive": 1.0},
        "overfitting": {"n_strategies": 23, "probability": 0.42},
        "overfitting_of_trials": {
            "n_strategies": 9,
            "probability": 0.63,
            "n_trials": 12,
        },
    },
}


@pytest.fixture
def judged():
    return copy.deepcopy(JUDGED)


def one(sentences, words):
    (found,) = [sentence for sentence in sentences if words in sentence]
    return found


def test_the_first_sentence_is_of_the_exposure_matched_mix(judged):
    assert verdict(judged)[0] == (
        "TRM does not beat the exposure-matched mix: p = 0.41, Sharpe ratio 0.50 "
        "against 0.48, difference +0.02 (95% interval -0.08 to +0.12)."
    )


@pytest.mark.parametrize(("p_value", "claim"), [(0.05, "beats"), (0.051, "does not")])
def test_only_a_small_p_beats(judged, p_value, claim):
    judged["tests"]["leads"]["exposure_matched"]["p_value"] = p_value
    assert verdict(judged)[0].startswith(f"TRM {claim}")


def test_each_rival_has_its_sentence(judged):
    said = verdict(judged)
    assert "beats SPY: p = 0.012" in one(said, "SPY")
    assert "does not beat 60/40" in one(said, "60/40")
    assert "does not beat" in one(said, "strongest rival in hindsight (inverse_vol")
    assert "does not beat" in one(said, "best fixed allocation in hindsight (defens")
    assert "is no more than chance gives: t = 0.31, p = 0.38" in one(said, "alpha")
    assert "0.62, not above 0.95, after 46 trials" in one(said, "deflated")
    assert "59% do as well, p = 0.59" in one(said, "No timing is shown")
    assert "p = 0.29" in one(said, "No rival is shown to be better")
    assert "in the 90% model confidence set, which holds 2 of 3" in one(said, "90%")
    assert "of the 23" in one(said, "probability of overfitting")
    assert one(said, "Of 12 trials in the log, 9 are known").endswith(
        "in 63% of the ways to halve them."
    )
    assert len(said) == 13


@pytest.mark.parametrize("strongest", ["mean_variance", "defensive", "spy"])
def test_the_strongest_rival_is_said_to_be_whoever_it_is(judged, strongest):
    said = verdict(judged | {"best_rival": strongest})
    assert f"({strongest})" in one(said, "the strongest rival in hindsight")
    assert len(said) == 12


def test_good_numbers_are_said_too(judged):
    tests = judged["tests"]
    tests["alpha"] |= {"p_value": 0.01}
    tests["deflated"] |= {"deflated": 0.97}
    tests["random_starts"] |= {"p_value": 0.01}
    tests["superiority"]["trm"] = 0.03
    tests["confidence_set"]["trm"] = 0.04
    said = verdict(judged)
    assert "is more than chance" in one(said, "alpha")
    assert "0.97, above 0.95" in one(said, "deflated")
    assert one(said, "Its timing shows")
    assert one(said, "At least one rival is better than TRM")
    assert "not in the 90%" in one(said, "model confidence set")


def test_an_allocator_that_hardly_differs_is_said_to(judged):
    judged["tests"] |= {"tracking_error": 0.0012}
    assert verdict(judged)[1] == (
        "It hardly differs from that mix: by 0.12% a year (volatility)."
    )


@pytest.mark.parametrize("accuracy", [0.645, 0.655])
def test_an_accuracy_that_nobody_has_is_taken_for_a_leak(judged, accuracy):
    judged["strategies"]["trm"]["accuracy"] = accuracy
    is_said = any("leak" in sentence for sentence in verdict(judged))
    assert is_said == (accuracy > 0.65)
    judged["confusion"] = [[20, 0], [0, 30]]
    assert not any("leak" in sentence for sentence in verdict(judged))


def test_a_short_span_proves_nothing(judged):
    assert verdict(judged | {"tests": None, "span": {"sessions": 41}}) == [
        "The span has 41 sessions, and nothing can be said of chance under 60."
    ]


def test_what_has_no_figure_is_left_out_or_said(judged):
    judged["tests"] |= dict.fromkeys(
        (
            "deflated",
            "random_starts",
            "superiority",
            "confidence_set",
            "overfitting",
            "overfitting_of_trials",
        )
    )
    judged["tests"]["leads"] = {}
    said = verdict(judged)
    assert said[0] == (
        "Against the exposure-matched mix nothing can be said of chance: one of the "
        "two held cash throughout, or nearly."
    )
    assert len(said) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.0124, "p = 0.012"),
        (0.0996, "p = 0.100"),
        (1, "p = 1.00"),
    ],
)
def test_p_values_have_the_digits_that_matter(value, text):
    assert p_text(value) == text


def test_a_rounded_zero_has_no_sign():
    assert [signed(v) for v in (-0.004, 0.004, -0.006)] == ["0.00", "0.00", "-0.01"]
