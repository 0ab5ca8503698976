"""Everything that a demo run leaves in its folder: pictures, contact sheet, report.json, index.html.

The page needs no network and no script; its pictures lie beside it. Knows no ROS.
"""

import html
import json
from pathlib import Path

from emu_planner.cli.contact_sheet import draw_contact_sheet
from emu_planner.cli.pictures import write_picture
from emu_planner.cli.record import (
    DemoRecord,
    StepRecord,
    as_json,
    outcome_words,
    seconds_words,
)

_STYLE = """
:root { color-scheme: light dark; --ink: #202124; --faint: #75777d; --paper: #faf9f6; --card: #fff;
  --line: #e4e2dc; --imagined: #7e4abe; --good: #188038; --bad: #c42b1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9ea; --faint: #9a9ca3; --paper: #17181a;
  --card: #202124; --line: #34363a; --imagined: #b794f4; --good: #6bcf86; --bad: #ff8a7a; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1240px; padding: 2.5rem 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem }
.source, .facts dt, figcaption, .times { color: var(--faint); font-size: .85rem }
.verdict { font-weight: 600; margin: .8rem 0 0 } .good { color: var(--good) } .bad { color: var(--bad) }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.4rem 0 }
.facts dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1rem 1.2rem 1.2rem; margin: 1rem 0 }
h2 { font-size: 1.15rem; margin: 0 0 .1rem } h2 span { color: var(--faint); margin-right: .6rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: .9rem }
figure { margin: 0 } figure img { width: 100%; display: block; border-radius: 6px }
.imagined img { outline: 2px solid var(--imagined) } .imagined figcaption { color: var(--imagined) }
.none { background: var(--line); border-radius: 6px; aspect-ratio: 2; display: grid;
  place-items: center; color: var(--faint) }
ul { padding-left: 1.2rem } footer { color: var(--faint); font-size: .85rem; margin-top: 2rem }
"""


def write_results(record: DemoRecord, out: Path) -> Path:
    """Write all files of a run; returns the page's path. OSError: the folder cannot be written."""
    for step in record.steps:
        for kind in ("before", "keyframe", "after"):
            picture = getattr(step, kind)
            if picture is not None:
                write_picture(out / _name(step, kind), picture)
    write_picture(out / "contact_sheet.png", draw_contact_sheet(record))
    (out / "report.json").write_text(json.dumps(as_json(record), indent=2) + "\n", encoding="utf-8")
    page = out / "index.html"
    page.write_text(render_page(record), encoding="utf-8")
    return page


def remove_results(out: Path) -> None:
    """Remove what an earlier run left, so that nothing of it can be taken for this one's."""
    for pattern in ("step-*.png", "contact_sheet.png", "report.json", "index.html"):
        for path in out.glob(pattern):
            path.unlink()


def render_page(record: DemoRecord) -> str:
    """The page; every text that came from outside is escaped."""
    facts = {
        "first words": seconds_words(record.first_words_s),
        "first keyframe": seconds_words(record.first_keyframe_s),
        "whole plan": seconds_words(record.plan_s),
        "steps": str(len(record.steps)),
        "memory, service": _megabytes(record.service_mb),
        "memory, all processes": _megabytes(record.all_mb),
    }
    told = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    colour = {True: " good", False: " bad", None: ""}[record.succeeded]
    error = f'<p class="bad">{html.escape(record.error)}</p>' if record.error else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(record.task)} - emu_planner</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(record.task)}</h1>
<div class="source">{html.escape(record.source)}, planned by {html.escape(record.planner)}</div>
<p class="verdict{colour}">{html.escape(record.verdict)}</p>{error}
<dl class="facts">{told}</dl>
{"".join(_render_step(step, record) for step in record.steps)}
{_render_conditions(record)}
<footer>A keyframe is imagined by the model, never measured by a camera.
<a href="contact_sheet.png">Contact sheet</a>, <a href="report.json">report</a>.</footer>
</body>
</html>
"""


def _render_step(step: StepRecord, record: DemoRecord) -> str:
    colour = {"succeeded": "good", "failed": "bad", "expired": "bad"}.get(step.state, "")
    times = [f"words {seconds_words(step.words_s)}", f"keyframe {seconds_words(step.keyframe_s)}"]
    if step.executed_s is not None:
        times.append(f"executed {seconds_words(step.executed_s)}")
    if step.confidence is not None:
        times.append(f"confidence {step.confidence:.2f}")
    missing = "no picture" if record.executed else "not executed"
    figures = "".join(
        (
            _render_figure(step, "before", "camera", "no picture"),
            _render_figure(step, "keyframe", "imagined keyframe", "no keyframe"),
            _render_figure(step, "after", "what really happened", missing),
        )
    )
    return f"""<section>
<h2><span>{step.index + 1}</span>{html.escape(step.words)}</h2>
<p class="times"><span class="{colour}">{html.escape(outcome_words(step))}</span>, {", ".join(times)}</p>
<div class="pictures">{figures}</div>
</section>
"""


def _render_figure(step: StepRecord, kind: str, caption: str, missing: str) -> str:
    shown = f'<div class="none">{missing}</div>'
    if getattr(step, kind) is not None:
        shown = f'<img src="{_name(step, kind)}" alt="{caption} of step {step.index + 1}">'
    style = ' class="imagined"' if kind == "keyframe" else ""
    return f"<figure{style}>{shown}<figcaption>{caption}</figcaption></figure>"


def _render_conditions(record: DemoRecord) -> str:
    if record.conditions is None or not record.executed:
        return ""
    rows = "".join(
        f'<li class="{"good" if true else "bad"}">{html.escape(name)}: {"yes" if true else "no"}</li>'
        for name, true in record.conditions.items()
    )
    return f"<section><h2>What the simulator says</h2><ul>{rows}</ul></section>"


def _name(step: StepRecord, kind: str) -> str:
    return f"step-{step.index + 1:02d}-{kind}.png"


def _megabytes(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f} MB"
