"""``flowgrid keys``: make what a cluster needs that spans machines."""

from __future__ import annotations

from pathlib import Path

import click

from flowgrid.transport.security import create_keys


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def keys(directory: Path) -> None:
    """Make the keys of a new cluster in DIRECTORY, which must be new or empty."""
    create_keys(directory)
    click.echo(
        f"""Made the keys of a cluster in {directory}. Give each machine what it needs, as mode 600:

  scheduler and executors   the whole folder
  who submits programs      cluster.key, submitter.key_secret
  who only watches          cluster.key, observer.key_secret

allowed/ lists the public keys that get in, each as the role its name begins with."""
    )
