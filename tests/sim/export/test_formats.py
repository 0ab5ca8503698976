"""What holds of every format: no loss, resumable, one run a folder, damage named."""

import fcntl
import json
import shutil
import sys
import tracemalloc
from dataclasses import replace

import pytest

from sim.export import formats
from sim.export.formats import FORMATS, compare, export
from sim.export.target import Target, changed_files
from sim.shards import DamageError, open_run


def stamps(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=FORMATS)
def name(request):
    for package in FORMATS[request.param][2]:
        pytest.importorskip(package, reason="see requirements/export.txt")
    return request.param


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """Folders of finished exports, made when first asked for. Read only."""
    folders = {}

    def get(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("exports") / name
            export(run, name, folders[name])
        return folders[name]

    return get


def test_every_record_comes_back_as_it_was(run, exported, name):
    out = exported(name)
    assert list(compare(run, out)) == []
    form = formats.load(name)(run, Target(out, out))
    for shard in run.shards:
        restored = list(form.restore(shard))
        assert len(restored) == len(shard.texts())
        for line, (got, pictures) in zip(shard.lines(), restored, strict=True):
            assert {**got, "frames": 0} == {**line, "frames": 0}
            assert all((a == b).all() for a, b in zip(shard.pictures(line), pictures, strict=True))


def test_nothing_unfinished_is_left_and_the_manifest_names_every_file(run, exported, name):
    out = exported(name)
    # the lock stays: a second one of that name would lock nothing
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [".lock"]
    manifest = json.loads((out / "export.json").read_text())
    assert (manifest["format"], manifest["complete"]) == (name, True)
    assert manifest["source"]["run"] == run.settings
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {*manifest["files"], "export.json", "README.md", ".lock"}


def test_a_cut_export_goes_on_and_ends_as_an_uncut_one(run, exported, name, tmp_path, monkeypatch):
    make = formats.load(name)

    class Killed(make):
        def write(self, shard):
            super().write(shard)
            if shard.index == 1:
                (self.target.parts / "half").write_text("left by a kill")
                raise KeyboardInterrupt

    monkeypatch.setattr(formats, "load", lambda _: Killed)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        export(run, name, out)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is not finished"):
        list(compare(run, out))
    before, said = stamps(out), []
    export(run, name, out, said.append)
    assert [line.partition(";")[0].partition(": ")[2] for line in said] == [
        "was there",
        "was there",
        "written",
    ]
    kept = {path for path, when in stamps(out).items() if before.get(path) == when}
    assert len(kept) >= 2
    assert list(compare(run, out)) == []
    whole = json.loads((exported(name) / "export.json").read_text())["files"]
    assert json.loads((out / "export.json").read_text())["files"] == whole


def test_a_folder_of_something_else_is_refused(run, exported, name, tmp_path):
    other = next(n for n in FORMATS if n != name)
    if all(package in sys.modules for package in FORMATS[other][2]):
        with pytest.raises(ValueError, match=f"an export of the format {name}, not {other}"):
            export(run, other, exported(name))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and holds no export"):
        export(run, name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="not empty and holds no export"):
        export(run, name, run.folder)
    with pytest.raises(ValueError, match="is a file"):
        export(run, name, tmp_path / "thesis.txt")
    with pytest.raises(ValueError, match=f"is an export .{name}., not a run"):
        open_run(exported(name))


def test_an_export_of_another_run_is_refused(run, exported, name, copied):
    path = copied.shards[0].lines_path
    path.write_text(path.read_text().replace("block", "brick", 1))
    for other in (copied, replace(run, settings={**run.settings, "first_seed": 39})):
        with pytest.raises(ValueError, match="an export of another run"):
            export(other, name, exported(name))
        with pytest.raises(ValueError, match="an export of another run"):
            list(compare(other, exported(name)))


def test_a_damaged_source_is_not_exported(copied, name, tmp_path):
    frames = copied.shards[1].frames_path
    frames.write_bytes(frames.read_bytes()[:-1])
    with pytest.raises(DamageError, match=r"shard-00001, record \w+/43, picture"):
        export(copied, name, tmp_path / "out")
    assert not json.loads((tmp_path / "out" / "export.json").read_text())["complete"]


def test_two_processes_do_not_write_one_export(run, name, tmp_path):
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing"):
            export(run, name, tmp_path / "out")
    export(run, name, tmp_path / "out")


def test_a_folder_is_looked_at_when_it_is_held(run, exported, name, tmp_path, monkeypatch):
    """Another process finished an export of another format between a look and the lock."""
    other = next(n for n in FORMATS if n != name)
    out, lock = tmp_path / "out", fcntl.flock

    def flock_late(file, how):
        (out / "export.json").write_text(json.dumps({**theirs, "format": other}))
        lock(file, how)

    theirs = json.loads((exported(name) / "export.json").read_text())
    monkeypatch.setattr(fcntl, "flock", flock_late)
    with pytest.raises(ValueError, match=f"an export of the format {other}, not {name}"):
        export(run, name, out)


def test_who_waits_for_the_lock_and_who_comes_later_lock_the_same_file(run, name, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as early:
        export(run, name, out)
        fcntl.flock(early, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing"):
            export(run, name, out)


def test_hashes_outlive_a_resume_that_is_cut(run, exported, name, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(exported(name), out)
    whole = json.loads((out / "export.json").read_text())["files"]

    class Killed(formats.load(name)):
        def finish(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(formats, "load", lambda _: Killed)
    with pytest.raises(KeyboardInterrupt):
        export(run, name, out)
    monkeypatch.undo()
    manifest = json.loads((out / "export.json").read_text())
    assert (manifest["complete"], manifest["files"]) == (False, whole)
    # so a file that is damaged now is not taken for a whole one
    path = out / max(whole)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not as they were written"):
        export(run, name, out)


def test_a_large_file_is_hashed_in_blocks(tmp_path):
    (tmp_path / "export.json").write_text(
        json.dumps({"format": "", "source": {}, "complete": True, "files": {}})
    )
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        assert changed_files(tmp_path) == []
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_a_changed_file_of_an_export_is_named(run, name, tmp_path):
    out = tmp_path / "out"
    export(run, name, out)
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name not in ("export.json", "README.md", ".lock"):
            good = path.read_bytes()
            bad = bytearray(good)
            bad[len(bad) // 2] ^= 0x55
            path.write_bytes(bad)
            problems = list(compare(run, out))
            assert problems[0] == f"{path} is not as it was written (SHA-256), or gone"
            with pytest.raises(ValueError, match="not as they were written.*remove them first"):
                export(run, name, out)
            path.write_bytes(good)


def test_a_file_that_was_removed_is_written_again(run, exported, name, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported(name), out)
    whole = json.loads((out / "export.json").read_text())["files"]
    for gone in sorted(whole)[::2]:
        (out / gone).unlink()
        assert f"{out / gone} is not as it was written (SHA-256), or gone" in list(compare(run, out))
        export(run, name, out)
        assert json.loads((out / "export.json").read_text())["files"] == whole


def test_the_card_is_beside_the_data(run, exported, name):
    text = (exported(name) / "README.md").read_text()
    assert f"emu-planner data export --data RUN --format {name} --out FOLDER" in text
    assert "--episodes 5 --first-seed 40" in text


def test_an_unknown_format_and_a_missing_package_are_told(run, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown format 'hdf5'; expected one of"):
        export(run, "hdf5", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs the package pyarrow.*requirements/export\.txt"):
        export(run, "lerobot", tmp_path / "out")
    assert not (tmp_path / "out").exists()
