"""The bars of a request."""

from collections.abc import Sequence
from dataclasses import replace

from trm_bt.feeds import load_bars
from trm_bt.market.bars import Bars
from trm_bt.market.features import FeatureSchema
from trm_bt.runfolder.records import RunRequest


def training_bars(request: RunRequest) -> Bars:
    """Load the bars that models are trained on, with the inputs of the request.

    A model reads SPY, TLT and VIX alone unless other inputs are requested, so that it
    fits any script that has these three; the sample has what it was documented with,
    unless it is pooled with others.
    """
    is_alone = request.bars == "sample" and not request.pooled
    default = "all" if is_alone else "core"
    return requested_bars(request, request.inputs or (default,))


def choosing(request: RunRequest, schema: FeatureSchema) -> RunRequest:
    """Return the request with the allocations that a trained model chooses from."""
    config = request.config
    labels = config.labels.model_copy(update={"allocations": schema.allocations})
    return replace(request, config=config.model_copy(update={"labels": labels}))


def bars_for(request: RunRequest, schema: FeatureSchema) -> Bars:
    """Load the requested bars with the inputs that a trained model reads."""
    return requested_bars(request, schema.optional_inputs or ("core",))


def requested_bars(request: RunRequest, inputs: Sequence[str] = ("all",)) -> Bars:
    """Load the requested bars, by default with every optional input there is."""
    return load_bars(
        request.bars,
        start=request.start,
        end=request.end,
        observed=request.observed,
        long_bond=request.config.bars.long_bond,
        history=request.config.bars.history,
        inputs=inputs,
        accept=request.accept,
        strict=request.strict,
    )
