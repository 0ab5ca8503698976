"""Everything that the grammar can write it can read, and nothing else."""

import pytest

from sim import language, tasks
from sim.layout import Layout, NoRoomError
from sim.relations import DIRECTIONS
from sim.scene import Fact, Goal, Scene, Skill, pair
from sim.tasks import make_scene
from sim.world import World


@pytest.mark.parametrize("family", list(tasks.FAMILIES))
def test_every_template_of_every_skill_reads_back(family: str) -> None:
    scene = make_scene(family, 3)
    names = [item.name for item in scene.items]
    skills = [Skill("pick", name) for name in names]
    for target in ["table", *names, *(r.name for r in scene.receptacles)]:
        skills += [Skill("place", name, target) for name in names if name != target]
    if len(names) > 1:
        skills += [Skill("place", names[0], names[1], relation) for relation in (*DIRECTIONS, "beside")]
    if len(names) > 2:
        both = pair(*names[1:3])
        skills += [Skill("place", names[0], both, relation) for relation in ("between", "across")]
    skills += [Skill(verb, r.name) for r in scene.receptacles if r.opens for verb in ("open", "close")]
    skills += [Skill("press", button.name) for button in scene.buttons]
    skills += [Skill("push", names[0], r.name) for r in scene.receptacles]
    for skill in skills:
        for paraphrase in range(3):
            text = language.word_skill(skill, scene, paraphrase)
            assert language.parse(text, scene) == skill
            assert language.parse(f"  Please {text.upper()}! ", scene) == skill


@pytest.mark.parametrize("family", list(tasks.FAMILIES))
def test_every_instruction_reads_back_as_its_goal(family: str) -> None:
    for seed in range(25):
        scene = make_scene(family, seed)
        assert language.parse_instruction(scene.instruction, scene) == scene.goal
        shouted = f"{scene.instruction.capitalize()}."
        assert language.parse_instruction(shouted, scene) == scene.goal


def test_every_paraphrase_of_every_form_is_used_and_read() -> None:
    for form, table in language.FORMS.items():
        assert len(table.templates) >= 6, form
        assert len(set(table.templates)) == len(table.templates)
        assert form.split()[0] in tasks.FAMILIES


@pytest.mark.parametrize("form", list(language.FORMS))
def test_each_way_to_say_a_form_means_the_same(form: str) -> None:
    scene, slots = _asked(form)
    goal = language.goal_of(form, slots, scene)
    assert goal.facts or goal.exclusive
    for template in language.FORMS[form].templates:
        assert language.parse_instruction(template.format(**slots), scene) == goal, template


def _asked(form: str) -> tuple[Scene, dict[str, str]]:
    """A scene whose family asked with this form, and its slots."""
    for seed in range(60):
        layout = Layout(tasks.generator(form.split()[0], seed))
        try:
            drawn = tasks.FAMILIES[form.split()[0]].draw(layout)
        except NoRoomError:
            continue
        if isinstance(drawn, tuple) and drawn[0] == form:
            return layout.sketch(), drawn[1]
    raise AssertionError(f"no scene of 60 asks with {form!r}")


def test_a_chain_is_read_clause_by_clause() -> None:
    scene = make_scene("zone", 2)
    a, b = (item.name for item in scene.items[:2])
    r, s = (zone.name for zone in scene.receptacles)
    text = f"First move the {a} to the {r}, after that bring the {b} to the {s}"
    # the same object twice is no goal
    assert language.parse_instruction(f"{text}, and finally put the {a} on the {b}", scene) is None
    goal = language.parse_instruction(text, scene)
    assert goal == Goal((Fact(a, "in", r), Fact(b, "in", s)))
    assert language.parse_instruction(f"{text}, then sing", scene) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pick up the invisible block",
        "place the {a} in the {b}",
        "place the {a} on the {a}",
        "pick up the {a} and the {b}",
        "throw the {a}",
        "open the {a}",
        "press the {a}",
        "push the {a} to the {b}",
        "place the {a} between the {a} and the {b}",
        "place the {a} to the left of the table",
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


def test_a_caption_names_everything_once_in_order() -> None:
    with World() as world:
        scene = world.reset("stack", 3)
        world.execute(Skill("pick", scene.items[0].name))
        caption = language.describe(world.state())
    parts = caption.split(", ")
    assert parts == sorted(parts)
    assert len(parts) == len(scene.items)
    assert f"the {scene.items[0].name} in the gripper" in parts
    assert all(any(item.name in part for part in parts) for item in scene.items)
