"""What the documentation site is made of is there: pages, sections of the README, and what they point at."""

import re
from pathlib import Path

import pytest
import yaml

from tools import site_pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXTS = sorted(ROOT.glob("*.md")) + DOCS
REFERENCE = ("parameters.md", "messages.md", "wire.md", "commands.md", "metrics.md", "settings.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# a path of this repository, named in words
FILE = re.compile(r"(?<![\w/.-])((?:docs|tools|deploy|requirements|launch)/[\w./-]+\.[a-z]+)")


def generated() -> set[str]:
    return {f"reference/{name}" for name in REFERENCE} | set(site_pages.TOP_TEXTS)


def navigation(of: object) -> set[str]:
    """All pages that mkdocs.yml lists."""
    if isinstance(of, str):
        return {of}
    parts = of.values() if isinstance(of, dict) else of
    return set().union(*(navigation(part) for part in parts))


def test_every_page_is_in_the_navigation_and_nothing_else():
    # mkdocs.yml names no Python objects, so that this reads it
    pages = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert pages == {path.name for path in DOCS} | generated()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_what_a_text_points_at_is_there(path):
    text = path.read_text()
    for target in LINK.findall(text):
        if not re.match(r"https?:|#", target):
            name = target.partition("#")[0]
            assert (path.parent / name).exists() or name in generated(), f"{path.name}: {target}"
    for named in FILE.findall(text):
        assert (ROOT / named).exists(), f"{path.name} names {named}"


def test_every_section_that_a_page_takes_in_is_in_the_readme():
    readme, found = (ROOT / "README.md").read_text(), 0
    for path in DOCS:
        for line in path.read_text().splitlines():
            if line.startswith("<!-- README"):
                title = re.fullmatch(r"<!-- README: (.+) -->", line)
                assert title, f"{path.name}: {line}"
                assert len(site_pages.section(readme, title[1])) > 100
                found += 1
    assert found > 5


def test_a_section_ends_at_the_next_heading_and_a_missing_one_is_told():
    text = "# T\n\n## A\n\none\n\n### B\n\ntwo\n\n## C\n\nthree\n"
    assert site_pages.section(text, "A") == "one\n\n### B\n\ntwo"
    assert site_pages.section(text, "C") == "three"
    with pytest.raises(KeyError, match="no section 'B'"):
        site_pages.section(text, "B")


@pytest.mark.parametrize(
    ("text", "page", "made"),
    [
        ("see (docs/data.md):", "rig.md", "see ([docs/data.md](data.md)):"),
        ("![x](docs/rooms.svg)", "index.md", "![x](rooms.svg)"),
        ("[x](docs/data.md)", "a/b.md", "[x](../data.md)"),
        ("`docs/data.md`", "rig.md", "`docs/data.md`"),
        ("    cat docs/data.md", "rig.md", "    cat docs/data.md"),
        ("```\ndocs/data.md\n```", "rig.md", "```\ndocs/data.md\n```"),
        ("other/docs/data.md", "rig.md", "other/docs/data.md"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(text, page, made):
    assert site_pages.linked(text, page) == made + "\n"


def test_the_site_is_built_strictly_from_this_configuration():
    (command,) = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text())
    # what is quiet counts no warnings, and so is never strict
    assert command == "mkdocs build --strict"
    packages = (ROOT / "requirements" / "docs.txt").read_text()
    assert {"mkdocs", "mkdocs-material"} <= set(re.findall(r"^([\w-]+)==", packages, re.MULTILINE))
