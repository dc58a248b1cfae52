"""One signature for Python and the command line: Python callers get the same conversions and checks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typer.models import ParameterInfo

from bombo.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])


def checked(function: Function) -> Function:
    """Wraps a verb: arguments are converted to the types of its signature and checked against its options' ranges.

    Raises:
        ConfigError: A value has the wrong type or lies outside its range.
    """
    signature = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        return function(**{name: _valid(name, value, hints[name]) for name, value in given.items()})

    return wrapper  # type: ignore[return-value]


def _valid(name: str, value: Any, hint: Any) -> Any:
    try:
        value = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{value!r}: {error.errors()[0]['msg'].lower()}", where=name) from None
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, ParameterInfo) and value is not None:
            if info.min is not None and value < info.min:
                raise ConfigError(f"{value} is below {info.min}", where=name)
            if info.max is not None and value > info.max:
                raise ConfigError(f"{value} is above {info.max}", where=name)
    return value
