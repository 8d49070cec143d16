"""Objects and settings named in a model's name: ``package.module.Name?setting=value&…``."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from stream_al.errors import ConfigurationError


def split_settings(name: str) -> tuple[str, dict[str, Any]]:
    """Return the path before ``?`` and the settings after it.

    Values that read as Python literals (numbers, ``True``, ``None``) are those; all others are text.

    Raises
    ------
    ConfigurationError
        A part after ``?`` is not of the form ``setting=value``.

    Examples
    --------
    >>> split_settings("sklearn.linear_model.SGDClassifier?loss=log_loss&alpha=0.001")
    ('sklearn.linear_model.SGDClassifier', {'loss': 'log_loss', 'alpha': 0.001})
    """
    path, _, query = name.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise ConfigurationError(
            f"settings {query!r} of the model cannot be read ({error}); "
            f"write them as setting=value, joined by &"
        ) from error
    return path, {key: _literal(value) for key, value in pairs}


def _literal(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def resolve(path: str) -> Any:
    """Return the object at ``package.module.Name`` or ``package.module:Name``.

    Raises
    ------
    ConfigurationError
        There is no such module or name.
    """
    module_name, _, attribute = path.replace(":", ".").rpartition(".")
    if not module_name or not attribute:
        raise ConfigurationError(f"model path {path!r} has no module; expected package.module.Name")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"module {module_name!r} of model path {path!r} cannot be imported ({error}); "
            f"check its spelling, and that it is installed where stream-al runs"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f"did you mean {module_name}.{near[0]}?" if near else "check its spelling"
        raise ConfigurationError(f"{module_name!r} has no {attribute!r}; {hint}") from None


def factory(path: str, settings: dict[str, Any], seed: int) -> Callable[[], Any]:
    """Return a function that makes the object at a path with these settings.

    ``random_state`` or ``seed`` is set to ``seed`` where the class or function takes it and the
    settings leave it open: everything must be the same in every replica.

    Raises
    ------
    ConfigurationError
        The path is wrong, or a setting is not one of the object's.
    """
    make = resolve(path)
    if not callable(make):
        raise ConfigurationError(f"{path!r} is {type(make).__name__}; expected a class or a function")
    takes = parameters(make)
    for name in ("random_state", "seed"):
        if name in takes and name not in settings:
            settings = {**settings, name: seed}
    for name in settings:
        if takes and name not in takes:
            near = get_close_matches(name, takes, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(takes)}"
            raise ConfigurationError(f"{path} has no setting {name!r}; {hint}")

    def build() -> Any:
        try:
            return make(**settings)
        except Exception as error:
            raise ConfigurationError(f"{path} cannot be made with {settings}: {error}") from error

    return build


def parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters; none where it takes any, or cannot be asked."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
        return []
    return [p.name for p in found]
