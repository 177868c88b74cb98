"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click


def _as_settings(
    ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form name=value")
        settings[name.strip()] = value.strip()
    return settings


conf_option = click.option(
    "--conf",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_as_settings,
    help="A setting; may be given several times.",
)

keys_option = click.option(
    "--keys",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of keys, made by `flowgrid keys`; needed beyond this machine.",
)
