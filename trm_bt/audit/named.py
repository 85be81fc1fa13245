"""The look-ahead audit of functions named as `module:function` on the command line."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Final

from trm_bt.audit.api import audit_features, audit_policy
from trm_bt.audit.cerebro import audit_cerebro
from trm_bt.audit.checks import AuditResult, AuditSettings, error_line
from trm_bt.audit.training import audit_training
from trm_bt.errors import ConfigError
from trm_bt.executors import Runner, opened, share
from trm_bt.market.bars import Bars
from trm_bt.processes import no_progress
from trm_bt.tasks import Task, in_order, tell_progress

_AUDITS: Final[Mapping[str, Callable[..., AuditResult | list[AuditResult]]]] = {
    "features": audit_features,
    "policy": audit_policy,
    "training": audit_training,
    "cerebro": audit_cerebro,
}


def audit_named(
    names: Mapping[str, str], bars: Bars, settings: AuditSettings, executor: Runner = 1
) -> Iterator[AuditResult]:
    """Audit functions given by name.

    Parameters
    ----------
    names : mapping of str to str
        Name of each function as `module:function`, by what it makes ("features",
        "policy", "training", "cerebro").
    bars : Bars
        Bars to audit on.
    settings : AuditSettings
        Cuts, seed and tolerance.
    executor : Executor, Workers or int, optional
        Who audits; workers import the functions by their names.

    Yields
    ------
    AuditResult
        One or two per function, as they are done.

    Raises
    ------
    ConfigError
        If a function cannot be imported (before any is audited) or audited.
    """
    for kind, name in names.items():
        load_function(name, f"--{kind}")
    sent = replace(settings, progress=tell_progress)
    with opened(executor, len(names)) as pool:
        shared = share(pool, bars)
        tasks = [
            Task(kind, _audit, (kind, name, shared, sent))
            for kind, name in names.items()
        ]
        for found in in_order(tasks, pool, settings.progress or no_progress):
            yield from found


def _audit(
    kind: str, name: str, bars: Bars, settings: AuditSettings
) -> list[AuditResult]:
    found = _AUDITS[kind](load_function(name, f"--{kind}"), bars, settings)
    return found if isinstance(found, list) else [found]


def load_function(name: str, option: str) -> Callable[..., object]:
    """Import a function from the working folder or the environment.

    Parameters
    ----------
    name : str
        `module:function`; the module may be dotted.
    option : str
        The option that named it, for errors.

    Raises
    ------
    ConfigError
        If the name is no such pair, the module cannot be imported, or has no such
        function.

    Examples
    --------
    >>> load_function("math:sqrt", "--features")(4.0)
    2.0
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"{option}: must be module:function, got '{name}'.")
    folder = str(Path.cwd())
    if folder not in sys.path:  # an installed command does not look where it stands
        sys.path.insert(0, folder)
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{option}: the module '{module_name}' must be importable from {folder}, "
            f"and raises {error_line(error)}."
        ) from error
    function: Callable[..., object] | None = getattr(module, attribute, None)
    if not callable(function):
        what = "is none" if hasattr(module, attribute) else "is missing"
        raise ConfigError(
            f"{option}: '{attribute}' of the module '{module_name}' must be a "
            f"function, but {what}."
        )
    return function
