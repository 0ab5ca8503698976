"""`emu-planner view`: story files as folders of numbered files with a page, and as videos."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from emu_planner.cli.pictures import write_picture
from emu_planner.story import StoryError, read
from emu_planner.story.files import SUFFIXES
from emu_planner.story.layout import Item, Kind, lay_out, remove_old, thumbnail, write_item
from emu_planner.story.page import Entry, render_index, render_page
from emu_planner.story.video import write_video

_PAGE = "index.html"
_VIDEO = "video.mp4"
_THUMBNAIL = "thumbnail.jpg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.epilog = (
        "Exit status: 0 all is shown, 2 wrong input or nothing to show, 3 some file or picture could not "
        "be read and the others are shown."
    )
    parser.add_argument(
        "stories",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help=f"a story, or a folder that is searched for them ({', '.join(SUFFIXES)}), folders in it too",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write (default: results/NAME); a folder's stories get folders there and a list",
    )
    parser.add_argument(
        "--video", action="store_true", help="also video.mp4: cards with the words, and the pictures, 1 fps"
    )


def run(args: argparse.Namespace) -> int:
    """Write folders and pages. Statuses: see add_arguments."""
    source: Path = args.stories
    out = args.output or Path("results") / (
        source.resolve().stem if source.is_file() else source.resolve().name
    )
    try:
        if not source.exists():
            raise StoryError(f"there is no file or folder {source}")
        if source.is_dir():
            return _show_folder(source, out, video=args.video)
        troubles = _show(source, out, source.name, video=args.video)[1]
    except (OSError, StoryError) as error:
        print(f"emu-planner view: {error}", file=sys.stderr)
        return 2
    print(out / _PAGE)
    return _tell(source, troubles)


def _show_folder(source: Path, out: Path, *, video: bool) -> int:
    """Show every story below a folder, and a list of them."""
    files = find_stories(source)
    if not files:
        raise StoryError(f"{source} holds no story ({', '.join('*' + suffix for suffix in SUFFIXES)})")
    status, entries = 0, []
    for file, place in zip(files, places(files), strict=True):
        try:
            items, troubles = _show(source / file, out / place, str(file), video=video)
        except StoryError as error:
            status = max(status, _tell(file, [str(error)]))
            continue
        status = max(status, _tell(file, troubles))
        entries.append(_entry(items, out, place, file))
    if not entries:
        raise StoryError(f"none of the {len(files)} files in {source} can be read as a story")
    (out / _PAGE).write_text(render_index(entries, source.resolve().name), encoding="utf-8", errors="replace")
    print(out / _PAGE)
    return status


def find_stories(folder: Path) -> list[Path]:
    """Story files below a folder, as paths from it, sorted; links to folders are not followed."""
    return sorted(
        Path(place, name).relative_to(folder)
        for place, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix in SUFFIXES and not name.startswith(".")
    )


def places(files: Iterable[Path]) -> list[Path]:
    """A folder for each file: its path without the ending, or with it where another has that one."""
    taken: dict[Path, Path] = {}
    for file in files:
        short = file.with_suffix("")
        taken[file if short in taken else short] = file
    return list(taken)


def _show(file: Path, out: Path, source: str, *, video: bool) -> tuple[list[Item], list[str]]:
    """Write one story's folder; returns its items, and what of it could not be read."""
    story = read(file)
    out.mkdir(parents=True, exist_ok=True)
    remove_old(out)
    items = list(lay_out(story))
    for item in items:
        write_item(item, out)
    if video:
        write_video(items, out / _VIDEO)
    page = render_page(items, source, _VIDEO if video else None)
    (out / _PAGE).write_text(page, encoding="utf-8", errors="replace")
    return items, [f"{item.name}: {item.text}" for item in items if item.is_picture and item.image is None]


def _entry(items: list[Item], out: Path, place: Path, file: Path) -> Entry:
    pictures = [item for item in items if item.image is not None]
    pictures.sort(key=lambda item: item.kind is Kind.REFERENCE)  # what was made before what was given
    if pictures:
        write_picture(out / place / _THUMBNAIL, thumbnail(pictures[0]))
    return Entry(
        page=place / _PAGE,
        title=next(item.text for item in items if item.kind is Kind.QUESTION),
        source=str(file),
        picture=place / _THUMBNAIL if pictures else None,
    )


def _tell(file: Path, troubles: Iterable[str]) -> int:
    """Say what could not be read; the exit status."""
    status = 0
    for trouble in troubles:
        print(f"emu-planner view: {file}: {trouble}", file=sys.stderr)
        status = 3
    return status
