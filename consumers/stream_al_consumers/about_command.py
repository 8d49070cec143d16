"""``version``, ``config show``, ``schemas export``: what this installation is and would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_al_consumers.options import ConfigOption, JsonOption
from stream_al_consumers.output import out, print_json, print_rows

LIBRARIES = ("numpy", "scipy", "scikit-learn", "river", "pydantic", "orjson", "starlette", "uvicorn")


def version(json: JsonOption = False) -> None:
    """Print the versions of stream-al and of the libraries that its results depend on."""
    import platform
    import sqlite3
    from importlib.metadata import version as installed

    from stream_al import __version__

    found = {
        "stream-al": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{library: installed(library) for library in LIBRARIES},
    }
    if json:
        print_json(found)
    else:
        print_rows(f"stream-al {__version__}", list(found.items())[1:])


def config_show(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Print the configuration as it will be used: file, environment and defaults; secrets masked."""
    from stream_al_consumers.configuration import read_settings

    settings = read_settings(config)
    tree = settings.model_dump(mode="json", exclude_none=True)
    if json:
        print_json(tree | {"bound": settings.budget().bound()})
        return
    out.print(f"# budget: {settings.budget().bound()}", markup=False)
    for line in _toml(tree):
        out.print(line, markup=False)


def _toml(tree: dict[str, object], prefix: str = "") -> list[str]:
    """Return a tree of plain values as lines of TOML; a JSON string, number or list is one of TOML too."""
    import json as json_module

    tables = {name: value for name, value in tree.items() if isinstance(value, dict)}
    lines = [f"{name} = {json_module.dumps(value)}" for name, value in tree.items() if name not in tables]
    for name, table in tables.items():
        if table:
            lines += ["", f"[{prefix}{name}]", *_toml(table, f"{prefix}{name}.")]
    return lines


def schemas_export(
    directory: Annotated[Path, typer.Argument(help="Where to write; made if there is none.")],
    json: JsonOption = False,
) -> None:
    """Write the JSON Schema of every message, one file each."""
    from stream_al.errors import DataError
    from stream_al_schemas.export import write

    try:
        paths = write(directory)
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written ({error.strerror}); name another directory"
        ) from error
    if json:
        print_json([str(path) for path in paths])
    else:
        out.print(f"{len(paths)} schemas written to {directory}", markup=False)
