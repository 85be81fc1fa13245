"""Further universes that a model is trained on, beside the one that it decides."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.learning.dataset import Samples, samples_from_labels, split_chronologically
from trm_bt.learning.pool import MIN_ROWS, joined
from trm_bt.market.bars import Bars
from trm_bt.market.features import FeatureSchema
from trm_bt.market.labels import features_and_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.request import bars_for, training_bars

Pooled = Mapping[str, Bars]
"""Bars of the further universes by what the request calls them."""


def training_universes(
    request: RunRequest, schema: FeatureSchema | None = None
) -> tuple[Bars, Pooled]:
    """Load the bars of a request, and the further ones that models are trained on.

    Those that are decided have the inputs of a schema, if one is given. The further
    ones have the span, inputs and rules of the first.

    Raises
    ------
    BarsError
        If two universes have the same bars.
    """
    bars = training_bars(request) if schema is None else bars_for(request, schema)
    inputs = request.inputs or ("core",)
    found, names = {}, {bars.sha256(): request.bars}
    for name in request.pooled:
        alone = replace(request, bars=name, pooled=(), inputs=inputs)
        found[name] = loaded = training_bars(alone)
        if (digest := loaded.sha256()) in names:
            raise BarsError(
                f"Pooled universes must differ, but {name} has the bars of "
                f"{names[digest]}. Give each `--bars` once."
            )
        names[digest] = name
    return bars, found


def with_pooled(
    samples: Samples, pooled: Pooled, schema: FeatureSchema, config: TRMConfig
) -> Samples:
    """Return the rows of the first universe, pooled with those of further ones.

    Parameters
    ----------
    samples : Samples
        Rows of the first universe.
    pooled : mapping of str to Bars
        The further universes.
    schema : FeatureSchema
        What the features of the first one mean.
    config : TRMConfig
        Settings of features and labels.

    Raises
    ------
    BarsError
        If the features of a further universe mean something else.
    """
    found = {}
    for name, bars in pooled.items():
        features, labels = features_and_labels(bars, config)
        difference = schema.difference(features.schema)
        if difference is not None:
            raise BarsError(
                "Pooled universes must have features of one schema, but those of the "
                f"first and of {name} differ: {difference}. Pool with `--inputs core`, "
                "and bars whose roles are all observed or all estimated."
            )
        found[name] = samples_from_labels(labels)
    return replace(samples, pooled=found)


def check_pooled(trainings: Iterable[Samples], config: TRMConfig) -> None:
    """Refuse trainings of too few rows, and a universe that none of them would use.

    Parameters
    ----------
    trainings : iterable of Samples
        The rows that each of them may see.
    config : TRMConfig
        The share that validates.
    """
    unused: set[str] = set()
    for n_seen, samples in enumerate(trainings):
        old, new = split_chronologically(samples, config.training.validation_fraction)
        left_out = old.pooled.keys() - joined(old).pooled.keys()
        unused = set(left_out) if n_seen == 0 else unused & left_out
        begin = new.sessions[0].date()
    if unused:
        name = min(unused)
        raise BarsError(
            f"A pooled universe needs {MIN_ROWS} labels known before validation "
            f"begins, at the latest on {begin}, {name} has {len(old.pooled[name])}. "
            "Leave it out, or give bars that begin earlier."
        )
