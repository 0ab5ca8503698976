"""What identifies a checkpoint in a row."""

from sim.bench.versions import folder_sha256


def test_a_model_card_is_no_part_of_a_checkpoint(tmp_path):
    (tmp_path / "planner.json").write_text("{}")
    before = folder_sha256(tmp_path)
    (tmp_path / "README.md").write_text("what it is, and how good")
    assert folder_sha256(tmp_path) == before
    (tmp_path / "planner.json").write_text('{"decoder": "raster"}')
    assert folder_sha256(tmp_path) != before
