"""Stories as pages that need no network and no script; the pictures lie beside them.

Every text is escaped: a story may come from a stranger.
"""

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from emu_planner.story.layout import Item, Kind

_STYLE = """
:root { color-scheme: light dark; --ink: #202124; --faint: #6b6d73; --paper: #faf9f6; --card: #fff;
  --line: #e4e2dc; --thought: #7e4abe; --bad: #c42b1c }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9ea; --faint: #9a9ca3; --paper: #17181a;
  --card: #202124; --line: #34363a; --thought: #b794f4; --bad: #ff8a7a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 960px; padding: 2.5rem 1.25rem; background: var(--paper);
  color: var(--ink); font: 17px/1.6 system-ui, sans-serif }
h1 { font-size: 1.55rem; line-height: 1.35; margin: 0 0 .4rem; font-weight: 600 }
h1, p { white-space: pre-wrap; overflow-wrap: anywhere }
p { margin: 0 0 .8rem }
.faint, figcaption, footer { color: var(--faint); font-size: .85rem }
section, li { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.1rem 1.3rem; margin: 1.1rem 0 }
section > :last-child { margin-bottom: 0 }
h2 { font-size: .85rem; margin: 0 0 .5rem; color: var(--faint); font-weight: 600 }
details { margin: 0 0 .8rem; border-left: 3px solid var(--thought); padding-left: .8rem }
summary { cursor: pointer; color: var(--thought); font-size: .9rem }
details p { margin: .5rem 0 0; color: var(--faint); font-size: .95rem }
figure { margin: 0 0 .8rem } img { max-width: 100%; height: auto; display: block; border-radius: 6px }
.references { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0 }
.references img { max-height: 240px; width: auto }
.bad { color: var(--bad) }
video { width: 100%; border-radius: 6px; background: #000 }
ul { list-style: none; padding: 0 } li a { display: flex; gap: 1.1rem; align-items: center;
  color: inherit; text-decoration: none } li img { width: 120px; flex: none }
footer { margin-top: 2rem }
"""


def render_page(items: Sequence[Item], source: str, video: str | None = None) -> str:
    """One story. `source`: the file that it came from; `video`: the file's name, if there is one."""
    question = next((item.text for item in items if item.kind is Kind.QUESTION), "")
    references = "".join(_figure(item) for item in items if item.kind is Kind.REFERENCE)
    thoughts = "".join(_details(item, "Thought") for item in items if item.kind is Kind.THOUGHT)
    steps = [item for item in items if item.step]
    shown = "".join(
        _section(number, list(group)) for number, group in itertools.groupby(steps, lambda item: item.step)
    )
    film = ""
    if video is not None:
        film = (
            f'<section><h2>Video</h2><video controls preload="none" src="{quote(video)}"></video></section>'
        )
    body = f"""<h1 dir="auto">{html.escape(question.strip()) or "A story without a question"}</h1>
<div class="references">{references}</div>
{thoughts}
{shown or '<section class="faint">This story has no steps.</section>'}
{film}
<footer>{html.escape(source)}. Words and pictures below the question are made by a model.</footer>"""
    return _document(question.strip() or source, body)


@dataclass(frozen=True)
class Entry:
    """A story in the list of stories."""

    # where its page lies, from the list
    page: Path
    title: str
    # its file, as the reader knows it
    source: str
    # a picture, from the list; None without one
    picture: Path | None = None


def render_index(entries: Sequence[Entry], title: str) -> str:
    """The list of several stories."""
    rows = []
    for entry in entries:
        picture = ""
        if entry.picture is not None:
            picture = f'<img src="{quote(entry.picture.as_posix())}" alt="">'
        words = html.escape(entry.title.strip() or "A story without a question")
        source = html.escape(entry.source)
        rows.append(
            f'<li><a href="{quote(entry.page.as_posix())}">{picture}'
            f'<span dir="auto">{words}<br><span class="faint">{source}</span></span></a></li>'
        )
    count = "1 story" if len(rows) == 1 else f"{len(rows)} stories"
    body = f"<h1>{html.escape(title)}</h1>\n<p class=faint>{count}</p>\n<ul>\n" + "\n".join(rows) + "\n</ul>"
    return _document(title, body)


def _section(number: int, items: Sequence[Item]) -> str:
    parts = {Kind.WORDS: _paragraph, Kind.PICTURE: _figure}
    shown = "".join(
        parts[item.kind](item) if item.kind in parts else _details(item, "Thought before the picture")
        for item in items
    )
    return f"<section><h2>Step {number}</h2>\n{shown}</section>\n"


def _paragraph(item: Item) -> str:
    return f'<p dir="auto">{html.escape(item.text.strip())}</p>\n'


def _details(item: Item, title: str) -> str:
    return (
        f'<details><summary>{title}</summary><p dir="auto">{html.escape(item.text.strip())}</p></details>\n'
    )


def _figure(item: Item) -> str:
    name = "reference picture" if item.kind is Kind.REFERENCE else f"picture of step {item.step}"
    if item.image is None:
        return f'<figure class="bad">The {name} cannot be shown: {html.escape(item.text)}</figure>\n'
    size = f'width="{item.width}" height="{item.height}"'
    return (
        f'<figure><img src="{quote(item.name)}" {size} alt="{name}">'
        f"<figcaption>{name}, {item.width}x{item.height}</figcaption></figure>\n"
    )


def _document(title: str, body: str) -> str:
    return f"""<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(" ".join(title.split())[:120])}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""
