"""The data card counts what is there."""

from collections import Counter

from sim import card
from sim.data import EpisodeReader


def test_the_summary_is_what_the_reader_sees(run):
    records = list(EpisodeReader(run.folder))
    summary = card.summarise(line for shard in run.shards for line in shard.lines())
    assert summary.episodes == summary.digests == len(records) == run.counts["written"]
    assert summary.pictures == sum(len(record.frames) for record in records)
    assert summary.families == Counter(record.family for record in records)
    assert summary.lengths == Counter(len(record.subgoals) for record in records)
    assert summary.verbs == Counter(skill.verb for record in records for skill in record.skills)
    assert summary.detours == sum(bool(record.detour) for record in records)
    assert summary.seeds == (records[0].seed, records[-1].seed)


def test_no_record_is_no_error():
    summary = card.summarise([])
    assert (summary.episodes, summary.pictures, summary.seeds) == (0, 0, None)


def test_the_card_says_how_to_make_the_run_again(copied):
    path = card.write(copied)
    text = path.read_text()
    assert path == copied.folder / "README.md"
    assert "emu-planner data sim --out FOLDER --episodes 5 --first-seed 40" in text
    assert (
        f"| episodes | {copied.counts['written']} of 5 seeds ({copied.counts['dropped']} went wrong) |"
        in text
    )
    assert "pybullet 3." in text
