"""The pages: each is reached from README.md, each relative link leads somewhere, exit codes are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines import errors

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("bundles/*/docs/*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[tuple[Path, str]]:
    """What a page's relative links lead to, and the anchors; code is left out."""
    found = []
    for pair in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = "".join(pair).partition("#")
        if not re.match(r"\w+:", target):
            found.append(((page.parent / target).resolve() if target else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere() -> None:
    lost = []
    for page in PAGES:
        for target, anchor in links(page):
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{page.relative_to(PROJECT)}: {target}#{anchor}")
    assert lost == []


def test_anchors_are_made_as_on_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One, `two` (three)\n\n```bash\n# no heading\n```\n## [A link](x.md) and B\n")
    assert anchors(page) == {"one-two-three", "a-link-and-b"}


def test_every_page_is_reached_from_the_readme() -> None:
    reached, due = set(), [PROJECT / "README.md"]
    while due:
        page = due.pop()
        if page not in reached:
            reached.add(page)
            due += [target for target, _ in links(page) if target.suffix == ".md" and target.is_file()]
    pages = {page for page in PAGES if page.parent != PROJECT}
    assert sorted(str(page.relative_to(PROJECT)) for page in pages - reached) == []


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {target for target, _ in links(PROJECT / "docs" / "README.md")}
    pages = set(PROJECT.glob("docs/*/**/*.md"))
    assert sorted(str(page.relative_to(PROJECT)) for page in pages - listed) == []


def test_exit_codes_are_those_of_the_code() -> None:
    text = (PROJECT / "docs" / "reference" / "errors-and-exit-codes.md").read_text(encoding="utf-8")
    stated = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)}
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and each.__module__ == errors.__name__]
    assert stated == {kind.__name__: kind.exit_code for kind in kinds if kind is not errors.PipelinesError}
