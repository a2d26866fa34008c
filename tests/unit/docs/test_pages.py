"""The documents: links lead somewhere, and the files, names and keys that they mention exist."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

PROJECT = Path(__file__).parents[3]
DOCS = PROJECT / "docs"
PAGES = sorted([*PROJECT.glob("*.md"), PROJECT / "local/README.md", *DOCS.rglob("*.md")])
CODE = ("cli", "events", "examples", "functions", "layers", "local", "models", "statemachine", "tests", "tools")
# Files whose text has every name that a document may mention.
TEXTS = {".py", ".js", ".json", ".yaml", ".toml", ".html", ".jinja", ".sh", ".in"}
BUILT = {"__pycache__", "node_modules", "build"}
MAX_LINE = 120
# Names of other people's interfaces that this project's own code need not mention.
FOREIGN = {"WEBHOOK_TIMEOUT", "SSRF_PROTECTION_ENABLED"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


@cache
def files() -> frozenset[str]:
    """The paths of the project's own files and folders, from its root."""
    found = (path for folder in CODE for path in (PROJECT / folder).rglob("*") if not BUILT & set(path.parts))
    return frozenset([*CODE, "docs", *(str(path.relative_to(PROJECT)) for path in [*found, *DOCS.rglob("*")])])


@cache
def code() -> str:
    """The text of the project's own code, without tests, which could only repeat what a document says."""
    named = (PROJECT / path for path in files() if "tests" not in Path(path).parts and not path.startswith("docs"))
    found = [path for path in named if path.suffix in TEXTS and path.is_file()]
    return "\n".join(path.read_text() for path in [*found, PROJECT / "template.yaml", PROJECT / "Makefile"])


@cache
def words() -> frozenset[str]:
    """All words of the project's own code, since to search it for each name takes seconds."""
    return frozenset(re.findall(r"\w+", code()))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def quoted(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = prose(page)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if "://" in target:
            continue
        place, _, anchor = unquote(target).partition("#")
        linked = (page.parent / place).resolve() if place else page
        assert linked.exists(), target
        # The site has no other pages.
        assert DOCS not in page.parents or DOCS in linked.parents or linked.suffix != ".md", target
        assert not anchor or anchor in anchors(linked), target


@each_page
def test_lines_are_short_enough(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if len(line) > MAX_LINE] == []


@each_page
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    for name in quoted(page):
        path = name.rstrip("/")
        is_place = re.fullmatch(r"[\w.-]+(/[\w.-]+)+", path) and path.split("/")[0] in (*CODE, "docs")
        if is_place or re.fullmatch(r"[\w./-]+\.(py|js|asl\.yaml)", path):
            assert any(f"/{known}".endswith(f"/{path}") for known in files()), name


@each_page
def test_the_names_of_settings_alarms_and_errors_exist(page: Path) -> None:
    for name in quoted(page):
        if re.fullmatch(r"([A-Z][a-z]+){2,}|[A-Z]+(_[A-Z]+)+", name) and name not in FOREIGN:
            # Names of metrics end with the outcome that they count.
            first = re.match(r"[A-Z][a-z]+", name)
            assert name in words() or (first and f'f"{first[0]}{{' in code()), name


def test_the_pages_that_code_and_templates_name_exist() -> None:
    named = set(re.findall(r"\bdocs/[\w/-]+\.md\b", code() + (PROJECT / "samconfig.toml").read_text()))
    assert len(named) > 5
    assert [page for page in sorted(named) if not (PROJECT / page).exists()] == []


def test_every_page_is_in_the_index_once() -> None:
    indexes = [DOCS / "README.md", DOCS / "decisions/README.md"]
    linked = Counter(
        (index.parent / target).resolve()
        for index in indexes
        for target in re.findall(r"\]\(([^)#]+)\)", index.read_text())
    )
    pages = set(DOCS.rglob("*.md")) - {DOCS / "README.md"}
    assert {page: linked[page] for page in pages if linked[page] != 1} == {}


def test_the_glossary_defines_each_term_once() -> None:
    text = (DOCS / "glossary.md").read_text()
    terms = Counter(re.findall(r"^(?:- |\| )\*\*(.+?)\*\*", text, re.MULTILINE))
    assert len(terms) > 100
    assert [term for term, count in terms.items() if count > 1] == []


def test_the_glossarys_names_on_the_wire_are_those_of_the_code() -> None:
    text = " ".join((DOCS / "glossary.md").read_text().split())
    parts = re.findall(r"On the wire: (.+?)(?=\. |\.$| - \*\*|$)", text)
    told = [name for part in parts for name in re.findall(r"`([^`]+)`", part)]
    assert len(told) > 40
    for name in told:
        literal = max(re.split(r"<[^>]*>", name), key=len).strip("/#.-").removesuffix(".jsonl")
        assert literal in code(), name


def test_the_keys_of_the_worker_page_are_the_pages_own() -> None:
    told = re.findall(r"^\| (.+?) \| .+ \|$", (DOCS / "reviewers/reviewing.md").read_text(), re.MULTILINE)
    source = (PROJECT / "local/portal/static/keys.js").read_text()
    fixed = re.findall(r'^  \["([^"]+)", "[^"]+"\],$', source, re.MULTILINE)
    commands = re.findall(r'^  \["[a-z]+", "([^"]+)", "[^"]+"\],$', source, re.MULTILINE)
    assert fixed
    assert commands
    assert [key for key in told if key not in ("keys", "---")] == [*fixed, *(key.upper() for key in commands)]


def test_decisions_have_context_decision_and_consequences() -> None:
    records = sorted(page for page in (DOCS / "decisions").glob("*.md") if page.name != "README.md")
    for number, record in enumerate(records, start=1):
        text = record.read_text()
        assert record.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_reasons_that_the_fleet_reads_are_in_the_code() -> None:
    text = (DOCS / "fleet/uploading.md").read_text()
    reasons = re.findall(r"^\| (?:rejected|failed) \| `([a-z-]+)` \|", text, re.MULTILINE)
    assert len(reasons) > 10
    for reason in reasons:
        assert f'"{reason}"' in code(), reason
