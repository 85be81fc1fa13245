"""The verdict of a comparison as sentences that its numbers force."""

from typing import Final

from trm_bt.evaluation.assessment import Assessment, ChanceTests
from trm_bt.evaluation.benchmarks import MATCHED, OURS
from trm_bt.evaluation.claims import LEVEL, POWER, Lead, outcome
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.evaluation.risk_skill import risk_sentence
from trm_bt.evaluation.statistics import CONFIDENCE, SET_SIZE
from trm_bt.evaluation.trials import TRIALS_BEFORE
from trm_bt.figures import count, number, percent, signed

HARDLY: Final = 0.005
"""Annual tracking error below which two portfolios are the same to a reader."""
LEAK_POINTS: Final = 0.05
LEAK_SESSIONS: Final = 500
_NAMES: Final = {
    MATCHED: "the exposure-matched mix",
    "spy": "SPY",
    "sixty_forty": "60/40",
    "mean_variance": "the mean-variance rule",
}


def verdict(assessment: Assessment) -> list[str]:
    """Return the verdict as sentences, the most important first."""
    tests = assessment.tests
    if tests is None:
        return [
            f"The span has {assessment.span.sessions} sessions, too few to test "
            f"against chance: {MIN_SESSIONS} are needed."
        ]
    best, strongest = assessment.best_fixed, assessment.best_benchmark
    # the strongest benchmark is called so, whatever else it is
    texts = {
        **_NAMES,
        best: f"the best fixed allocation in hindsight ({best})",
        strongest: f"the strongest benchmark in hindsight ({strongest})",
    }
    others = [n for n in dict.fromkeys((strongest, best, *_NAMES)) if n != MATCHED]
    parts = (_deflated, _random, _superiority, _confidence_set, _overfitting, _trials)
    sentences = [
        _against(assessment, tests, MATCHED, _NAMES[MATCHED]),
        _matched(tests),
        _sure(assessment),
        *[_against(assessment, tests, name, texts[name]) for name in others],
        *[part(tests) for part in parts],
        assessment.risk_skill and risk_sentence(assessment.risk_skill),
        _leak(assessment),
    ]
    return [sentence for sentence in sentences if sentence]


def p_text(p_value: float) -> str:
    """Return a p-value rounded as a reader needs it.

    Examples
    --------
    >>> p_text(0.4137), p_text(0.0004)
    ('p = 0.41', 'p < 0.001')
    """
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.{2 if p_value >= 0.1 else 3}f}"


def lead_text(found: Lead) -> str:
    """Say a lead by Sharpe ratio with its interval, and what luck has to do with it.

    Examples
    --------
    >>> lead_text(Lead(0.1, 0.05, 0.15, 0.002, 0.02))
    'difference +0.10 (95% interval +0.05 to +0.15), p = 0.002, corrected p = 0.020'
    >>> lead_text(Lead(0.1, 0.05, 0.15, 0.002, 0.02, 0.14))[-35:]
    'detectable with 80% power from 0.14'
    """
    lead, low, high = (_told(x) for x in (found.difference, found.low, found.high))
    tested = (
        f"difference {lead} ({CONFIDENCE:.0%} interval {low} to {high}), "
        f"{p_text(found.p_value)}, corrected {p_text(found.p_corrected)}"
    )
    if found.detectable is None:
        return tested
    least = number(found.detectable)
    return f"{tested}; detectable with {POWER:.0%} power from {least}"


def _told(ratio: float) -> str:
    """Return a difference with two digits, or three where they would hide its sign."""
    return signed(ratio, 2 if abs(ratio) >= 0.005 else 3)


def _against(
    assessment: Assessment, tests: ChanceTests, benchmark: str, text: str
) -> str:
    """Say whether the allocator beats one benchmark by Sharpe ratio."""
    found = tests.leads.get(benchmark)
    if found is None:
        return (
            f"Against {text} no test is possible: one of the two held cash almost "
            "throughout."
        )
    ours, theirs = (assessment.strategies[name].sharpe for name in (OURS, benchmark))
    claim = {"ahead": "beats", "behind": "is beaten by", "open": "does not beat"}
    return (
        f"TRM {claim[outcome(found)]} {text}: Sharpe ratio {number(ours)} against "
        f"{number(theirs)}, {lead_text(found)}."
    )


def _matched(tests: ChanceTests) -> str:
    """Say what is left beyond the exposure-matched mix, if it differs from it."""
    found = tests.alpha
    if tests.tracking_error < HARDLY or found is None:
        apart = percent(tests.tracking_error, 2)
        return f"It hardly differs from that mix: {apart} annual tracking error."
    shown = "is more than" if found.p_value <= LEVEL else "is no more than"
    earned = signed(100.0 * found.alpha_annual)
    return (
        f"Its alpha over that mix, {earned}% a year, {shown} chance gives: "
        f"t = {number(found.t_value)}, {p_text(found.p_value)}."
    )


def _sure(assessment: Assessment) -> str | None:
    """Say how sure the allocator was, and how often it was right."""
    bins = assessment.calibration
    n_sessions = sum(row.sessions for row in bins)
    if not n_sessions:
        return None
    sure, right = (
        sum(row.sessions * getattr(row, key) for row in bins) / n_sessions
        for key in ("confidence", "accuracy")
    )
    return confidence_text(sure, right, n_sessions)


def confidence_text(sure: float, right: float, n_decisions: int) -> str:
    """Say the mean confidence of decisions beside the share that was right."""
    return (
        f"Its mean confidence was {percent(sure)}, and it was right on "
        f"{percent(right)} of the {count(n_decisions)} decisions whose outcome is "
        "known."
    )


def _deflated(tests: ChanceTests) -> str | None:
    found = tests.deflated
    if found is None:
        return None
    side = "above" if found.deflated > CONFIDENCE else "not above"
    tried = (
        f"after {count(found.n_trials)} trials, {TRIALS_BEFORE} of them before the "
        "shipped settings, whose best would show a Sharpe ratio of "
        f"{number(found.best_by_luck)} by luck alone"
    )
    chance = f"{number(found.deflated)}, {side} {CONFIDENCE:.2f}"
    return f"Its deflated Sharpe probability is {chance}, {tried}."


def _random(tests: ChanceTests) -> str | None:
    found = tests.random_starts
    if found is None:
        return None
    is_shown = found.p_value <= LEVEL
    shown = "Timing skill is shown" if is_shown else "No timing skill is shown"
    return (
        f"{shown}: of {count(found.n)} random starts of the same weights, "
        f"{found.share_as_good:.0%} do as well, {p_text(found.p_value)}."
    )


def _superiority(tests: ChanceTests) -> str | None:
    if not tests.superiority:
        return None
    p_value = tests.superiority[OURS]
    is_shown = p_value <= LEVEL
    claim = "At least one benchmark is" if is_shown else "No benchmark is shown to be"
    return f"{claim} better than TRM (superior predictive ability, {p_text(p_value)})."


def _confidence_set(tests: ChanceTests) -> str | None:
    found = tests.confidence_set
    if not found:
        return None
    n_in = sum(p_value > SET_SIZE for p_value in found.values())
    place = "in" if found[OURS] > SET_SIZE else "not in"
    return (
        f"It is {place} the {1 - SET_SIZE:.0%} model confidence set, which holds "
        f"{n_in} of {len(found)} strategies."
    )


def _overfitting(tests: ChanceTests) -> str | None:
    found = tests.overfitting
    if not found:
        return None
    return (
        f"The best of the {found.n_strategies} on one half of the sessions is below "
        f"the median on the other half in {found.probability:.0%} of the ways to "
        "halve them (probability of overfitting)."
    )


def _trials(tests: ChanceTests) -> str | None:
    found = tests.overfitting_of_trials
    if not found:
        return None
    return (
        f"Of {found.n_trials} trials in the log, {found.n_strategies} are known "
        "over these sessions and differ; the best of them on one half is below their "
        f"median on the other in {found.probability:.0%} of the ways to halve them."
    )


def _leak(assessment: Assessment) -> str | None:
    """Warn of an implausible accuracy."""
    accuracy = assessment.strategies[OURS].accuracy
    wins = [sum(column) for column in zip(*assessment.confusion, strict=True)]
    n_sessions = sum(wins)
    if n_sessions < LEAK_SESSIONS or accuracy is None:
        return None
    majority = max(wins) / n_sessions
    if accuracy - majority <= LEAK_POINTS:
        return None
    return (
        f"Its accuracy of {percent(accuracy)} is more than 5 points above the majority "
        f"class ({percent(majority)}): treat it as a leak until proved otherwise."
    )
