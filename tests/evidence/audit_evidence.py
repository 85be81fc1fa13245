"""Audit every planted leak and every clean function of the tests, at 200 cuts.

    python -m tests.evidence.audit_evidence [sample, or a folder of bars] [first date]

Prints a row each and ends with exit code 1 if a leak is missed or a clean function
raises an alarm. Strategies run on the first `N_SESSIONS` sessions.
"""

import sys
import time
from collections.abc import Callable, Mapping

from tests.fakes import FakePolicy
from tests.leaks import (
    CLEAN_FEATURES,
    CLEAN_TRADES,
    FEATURE_LEAKS,
    POLICY_LEAKS,
    TRADE_LEAKS,
    TRAINING_LEAKS,
    MovingAverage,
    cerebro,
    fitted_on_known_labels,
)
from trm_bt import load_bars
from trm_bt.audit.api import (
    AuditResult,
    audit_cerebro,
    audit_features,
    audit_policy,
    audit_training,
)
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features

N_SESSIONS = 300
_POLICIES = ("ranks within its batch", "threshold of the sample")

Audit = Callable[[Bars], AuditResult | list[AuditResult]]


def audits(leaky: bool) -> dict[str, Audit]:
    """Return an audit for each planted leak, or for each clean function."""

    def of(audit: Callable, functions: Mapping[str, Callable]) -> dict[str, Audit]:
        return {
            f"{audit.__name__} {name}": lambda bars, f=f: audit(f, bars)
            for name, f in functions.items()
        }

    def named(functions: tuple[Callable, ...]) -> dict[str, Callable]:
        return {f.__name__: f for f in functions}

    if leaky:
        at_close = {
            "fill at the close": lambda b: cerebro(b, MovingAverage, at_close=True)
        }
        return {
            **of(audit_features, named(FEATURE_LEAKS)),
            **of(audit_policy, dict(zip(_POLICIES, POLICY_LEAKS, strict=True))),
            **of(audit_training, named(TRAINING_LEAKS)),
            **of(audit_cerebro, {**TRADE_LEAKS, **at_close}),
        }
    ten = {"the ten features": lambda bars: compute_features(bars).frame}
    return {
        **of(audit_features, {**CLEAN_FEATURES, **ten}),
        **of(audit_policy, {"row by row": FakePolicy.reading}),
        **of(audit_training, named((fitted_on_known_labels,))),
        **of(audit_cerebro, CLEAN_TRADES),
    }


def main() -> int:
    """Print a row for each function; return how many went wrong."""
    source = sys.argv[1] if len(sys.argv) > 1 else "sample"
    bars = load_bars(source, start=sys.argv[2] if len(sys.argv) > 2 else None)
    short = bars.between(end=bars.sessions[N_SESSIONS - 1])
    n_wrong = 0
    for is_leak in (True, False):
        n_right, begun = 0, time.perf_counter()
        all_audits = audits(is_leak)
        for name, audit in all_audits.items():
            found = audit(short if name.startswith("audit_cerebro") else bars)
            results = found if isinstance(found, list) else [found]
            first = [r.difference for r in results if r.difference is not None]
            is_right = bool(first) == is_leak
            n_right += is_right
            cuts = f"{results[0].n_cuts} cuts"
            print(f"{name:58} {cuts:>9}  {first[0] if first else 'none'}")
        n_wrong += len(all_audits) - n_right
        verdict = "leaks caught" if is_leak else "clean functions without an alarm"
        seconds = time.perf_counter() - begun
        print(f"{n_right} of {len(all_audits)} {verdict}, {seconds:.0f} s\n")
    return n_wrong


if __name__ == "__main__":
    raise SystemExit(1 if main() else 0)
