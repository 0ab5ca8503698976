"""What the documentation site has beside docs/*.md: the reference, and texts of the repository's top folder.

A hook of MkDocs (mkdocs.yml names it). A page of docs/ takes a section of the README in with a line

    <!-- README: On a rig -->

so that each thing is said once. Links that are right at the top of the repository are turned into links of
the site, and words like docs/data.md into links. Knows no theme.
"""

import re
from typing import Any

from tools.reference import pages
from tools.reference.markdown import source

TOP_TEXTS = {
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "decisions.md": "DECISIONS.md",
}

_INCLUDE = re.compile(r"^<!-- README: (.+) -->$", re.MULTILINE)
_LINK_TO_DOCS = re.compile(r"(\]\()docs/")
# not in code, not part of a longer path, not a link already
_PAGE_IN_WORDS = re.compile(r"(?<!\]\()(?<![\w/`\[])docs/(\w+)\.md\b(?!`)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that no file of docs/ holds."""
    from mkdocs.structure.files import File

    made = {f"reference/{name}": text for name, text in pages().items()}
    made |= {name: source(path) for name, path in TOP_TEXTS.items()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Take in the README's sections, and make links of the site."""
    text = _INCLUDE.sub(lambda found: section(source("README.md"), found[1]), markdown)
    return linked(text, page.file.src_uri)


def section(text: str, title: str) -> str:
    """What stands under a heading of second level. KeyError: there is no such heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise KeyError(f"the README has no section {title!r} any more; a page of docs/ takes it in")
    return found[1].strip()


def linked(text: str, page: str) -> str:
    """Links to docs/ as links from a page of the site; code blocks stay as they are."""
    up = "../" * page.count("/")
    lines = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith("    "):
            line = _LINK_TO_DOCS.sub(rf"\1{up}", line)
            line = _PAGE_IN_WORDS.sub(rf"[docs/\1.md]({up}\1.md)", line)
        lines.append(line)
    return "\n".join(lines) + "\n"
