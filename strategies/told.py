"""What a strategy tells of its own books."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class told(Generic[T]):  # noqa: N801 # used as a decorator, like property
    """Tell what a method returns, as a property that a subclass may hide by its names.

    A property proper would refuse ``self.orders = []`` in somebody's subclass; what is
    told is read from the private books, which the name does not reach.

    Parameters
    ----------
    read : callable
        From a strategy to what it tells.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read, self.__doc__ = read, read.__doc__

    def __get__(self, strategy: object, owner: type | None = None) -> T:
        """Read from the strategy; the class itself has nothing to tell."""
        if strategy is None:
            return self  # type: ignore[return-value] # for those who look at the class
        return self._read(strategy)


def told_by(strategy: object, name: str) -> Any:  # noqa: ANN401 # as the name says
    """Return what a strategy tells by a name, also where a subclass hides it."""
    kinds = (vars(kind) for kind in type(strategy).__mro__)
    found = (names[name] for names in kinds if isinstance(names.get(name), told))
    return next(found).__get__(strategy)
