"""Settings of the site that `make docs` builds. Its navigation is README.md: the links of each reader."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "autolabel"
html_title = "autolabel"
extensions = ["myst_parser"]
root_doc = "README"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
# Most blocks are commands, which no language fits.
highlight_language = "none"
# Browsers do not let a page read other pages from a disk, which excerpts of hits need.
html_show_search_summary = False
# Depth of headings that links may name, with GitHub's names.
myst_heading_anchors = 6

_READER = re.compile(r"^- \*\*(.+?)\*\*:((?:.|\n(?!- ))+)", re.MULTILINE)
_PAGE = re.compile(r"\]\(([^)#]+)\.md\)")


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append the navigation to the text of an index, so that GitHub does not show it."""
    if page == "README":
        readers = _READER.findall(source[0])
    elif page == "decisions/README":
        readers = [("Decisions", source[0])]
    else:
        return
    for reader, text in readers:
        pages = "\n".join(_PAGE.findall(text))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {reader}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Register the extension of this file; Sphinx calls it."""
    app.connect("source-read", _add_navigation)
