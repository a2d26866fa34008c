"""Renders the page: one HTML file with its content, style and script. Only the frames' images are outside of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from autolabel_cli.browsing.frames import Frames, PageContent

PAGE = "browse.html"


def write_page(dataset: Path) -> Path:
    """Write the page of a dataset file beside it, for images that are there under their keys, and return its path."""
    frames = Frames()
    with dataset.open("rb") as lines:
        frames.take(lines, str(dataset))
    page = dataset.with_name(PAGE)
    page.write_text(render_page(frames.content(dataset.parent.name)), encoding="utf-8")
    return page


def render_page(content: PageContent) -> str:
    """Render the page as HTML."""
    # Imported here: other commands do not need it.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autolabel_cli.browsing", "static"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    # No text of a dataset can end the script.
    data = msgspec.json.encode(content).decode().replace("<", "\\u003c")
    return environment.get_template("page.html").render(title=content.title, data=data)
