"""What can be read of a strategy's own books."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class readout(Generic[T]):  # noqa: N801 # used as a decorator, like property
    """Make a method a property that a subclass may hide by a name of its own.

    A property proper would refuse ``self.orders = []`` in somebody's subclass; a
    readout comes from the private books, which the name does not reach.

    Parameters
    ----------
    read : callable
        From a strategy to the value.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read, self.__doc__ = read, read.__doc__

    def __get__(self, strategy: object, owner: type | None = None) -> T:
        """Read from the strategy; of the class itself there is nothing to read."""
        if strategy is None:
            return self  # type: ignore[return-value] # for those who look at the class
        return self._read(strategy)


def read_out(strategy: object, name: str) -> Any:  # noqa: ANN401 # as the name says
    """Return a readout of a strategy, also where a subclass hides it."""
    kinds = (vars(kind) for kind in type(strategy).__mro__)
    found = (names[name] for names in kinds if isinstance(names.get(name), readout))
    return next(found).__get__(strategy)
