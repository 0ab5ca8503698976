"""Everything that the grammar can write it can read, and nothing else."""

import pytest

from sim import language, tasks
from sim.scene import Fact, Skill
from sim.tasks import make_scene
from sim.world import World


@pytest.mark.parametrize("family", list(tasks.FAMILIES))
def test_every_template_of_every_skill_reads_back(family: str) -> None:
    scene = make_scene(family, 3)
    names = [item.name for item in scene.items]
    skills = [Skill("pick", name) for name in names]
    for target in ["table", *names, *(r.name for r in scene.receptacles)]:
        skills += [Skill("place", name, target) for name in names if name != target]
    for skill in skills:
        for paraphrase in range(3):
            text = language.word_skill(skill, scene, paraphrase)
            assert language.parse(text, scene) == skill
            assert language.parse(f"  Please {text.upper()}! ", scene) == skill


@pytest.mark.parametrize("family", list(tasks.FAMILIES))
def test_every_instruction_reads_back_as_its_goal(family: str) -> None:
    for seed in range(60):
        scene = make_scene(family, seed)
        assert language.parse_instruction(scene.instruction, scene) == scene.goal
        shouted = f"{scene.instruction.capitalize()}."
        assert language.parse_instruction(shouted, scene) == scene.goal


def test_every_paraphrase_of_every_form_is_used_and_read() -> None:
    for form, table in language.FORMS.items():
        assert len(table.templates) >= 6, form
        assert len(set(table.templates)) == len(table.templates)
        family = form.split()[0]
        seen = {make_scene(family, seed).instruction.split()[0] for seed in range(80)}
        assert len(seen) > 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pick up the invisible block",
        "place the {a} in the {b}",
        "place the {a} on the {a}",
        "pick up the {a} and the {b}",
        "throw the {a}",
    ],
)
def test_nonsense_is_not_read(text: str) -> None:
    scene = make_scene("stack", 3)
    a, b = (item.name for item in scene.items[:2])
    assert language.parse(text.format(a=a, b=b), scene) is None


def test_the_goal_names_the_scene_and_orders_a_tower_from_below() -> None:
    scene = make_scene("stack", 3)
    a, b, c = (f"{colour} block" for colour in ("red", "green", "blue"))
    goal = language.goal_of("stack three", {"a": a, "b": b, "c": c}, scene)
    assert goal.facts == (Fact(c, "on", "table"), Fact(b, "on", c), Fact(a, "on", b))


def test_legal_skills_are_readable_in_a_real_world() -> None:
    with World() as world:
        scene = world.reset("zone", 2)
        for skill in world.legal_skills():
            assert language.parse(language.word_skill(skill, scene, 1), scene) == skill
