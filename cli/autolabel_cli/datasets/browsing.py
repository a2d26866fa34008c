"""The command `autolabel browse`."""

from __future__ import annotations

from pathlib import Path

import click

from autolabel.contracts.wording import counted
from autolabel_cli.browsing.frames import FramePlace, Frames
from autolabel_cli.browsing.page import render_page
from autolabel_cli.browsing.server import PageServer
from autolabel_cli.completion import complete_sources
from autolabel_cli.datasets.sources import Source, find_source, is_file
from autolabel_cli.drives.frame_copies import read_frame
from autolabel_cli.errors import CommandError
from autolabel_cli.options import stack_option
from autolabel_cli.output import console
from autolabel_cli.stack import Stack


@click.command()
@click.argument("sources", metavar="DRIVE...", nargs=-1, required=True, shell_complete=complete_sources)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port on 127.0.0.1; default: any free one.")
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser.")
@stack_option
def browse(sources: tuple[str, ...], port: int, opens: bool, stack_name: str) -> None:
    """Look through all frames and tracks of published datasets, in a browser.

    DRIVE is the name of a drive (for its latest published run), a run such as DRIVE@0002, or a dataset.manifest file
    with its frames beside it. The page filters by class, uncertainty, reviewer, reason and more, sorts, and shows
    tracks as strips. It is served on this machine until Ctrl-C, and images are read with your rights.
    """
    named = list(dict.fromkeys(sources))
    stack = None if all(is_file(source) for source in named) else Stack.find(stack_name)
    found = [find_source(source, stack) for source in named]
    frames = Frames()
    images = _Images(frames.places, stack)
    for source in found:
        before = len(frames.places)
        frames.take(source.lines(stack), str(source))
        images.add(source, before)
    content = frames.content(", ".join(str(source) for source in found))
    if not content.frames:
        raise CommandError(f"{content.title} has no frame with boxes, so there is nothing to browse")
    with PageServer(port, render_page(content), images.read) as server:
        said = f"{counted(len(content.frames), 'frame')} at {server.url} until Ctrl-C"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        if opens:
            click.launch(server.url)
        serve(server)


def serve(server: PageServer) -> None:
    """Serve until Ctrl-C."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        console.print("")


class _Images:
    """The images of the page: beside a dataset file, else in the stack's bucket."""

    def __init__(self, places: dict[str, FramePlace], stack: Stack | None) -> None:
        self._places = places
        self._stack = stack
        self._folders: dict[str, Path | None] = {}

    def add(self, source: Source, first: int) -> None:
        """Add the frames of a source: all from the position `first` on."""
        for key in list(self._places)[first:]:
            self._folders[key] = source.copies

    def read(self, key: str) -> bytes:
        place = self._places[key]
        if folder := self._folders[key]:
            try:
                return (folder / key).read_bytes()
            except OSError as e:
                raise CommandError(f"{folder / key} cannot be read: {e.strerror}") from e
        if self._stack is None:
            raise CommandError(f"{key} is not beside the dataset: autolabel fetch --images writes both")
        return read_frame(self._stack.ingest, place.bucket, key, place.etag, "fetch the dataset again")
