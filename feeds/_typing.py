"""Backtrader's objects by name; it has no types, so a type checker sees `Any`."""

from collections.abc import Mapping
from typing import TypeAlias

import backtrader as bt

Feed: TypeAlias = bt.feed.AbstractDataBase
"""A data feed, preloaded or live."""

Feeds: TypeAlias = Mapping[str, Feed]
"""Feeds by role, or by the input of a feature that they are."""

Line: TypeAlias = bt.LineBuffer
"""One line of a feed or an indicator."""

Params: TypeAlias = bt.metabase.AutoInfoClass
"""The params of a strategy, an indicator or an analyzer."""

Broker: TypeAlias = bt.BrokerBase
"""The broker of a Cerebro."""
