"""All skills as one library: what is possible now, why not, do it, imagine it. Knows verbs only."""

from typing import TYPE_CHECKING

from sim import fixture_skills, push, skills
from sim.scene import Skill
from sim.skills import SkillResult

if TYPE_CHECKING:
    from sim.world import World

_FIXTURE_VERBS = ("open", "close", "press")
VERBS = ("pick", "place", *_FIXTURE_VERBS, "push")


def legal(world: "World") -> list[Skill]:
    """All skills that are possible now, in the scene's order."""
    possible = skills.legal(world)
    if world.scene.parts or any(item.kind == "crate" for item in world.scene.items):
        now = world.state()
        possible += fixture_skills.legal(world, now) + push.legal(world, now)
    return possible


def why_illegal(world: "World", skill: Skill) -> str | None:
    """Why a skill is impossible now, in words; None when it is possible."""
    if skill.verb not in VERBS:
        return f"unknown verb {skill.verb!r}; expected one of {VERBS}"
    if skill.verb in _FIXTURE_VERBS:
        return fixture_skills.why_not(world, world.state(), skill)
    if skill.verb == "push":
        return push.why_not(world, world.state(), skill)
    return skills.why_illegal(world, skill)


def execute(world: "World", skill: Skill) -> SkillResult:
    """Carry out a skill; refuse one that is impossible."""
    reason = why_illegal(world, skill)
    if reason is not None:
        return SkillResult(False, reason)
    world.forget_contacts()
    if skill.verb in _FIXTURE_VERBS:
        return fixture_skills.execute(world, skill)
    if skill.verb == "push":
        return push.execute(world, skill)
    return skills.execute(world, skill)


def imagine(world: "World", skill: Skill) -> None:
    """Put the world into the state that a legal skill should lead to, without physics."""
    if skill.verb in _FIXTURE_VERBS:
        fixture_skills.imagine(world, skill)
    elif skill.verb == "push":
        push.imagine(world, skill)
    else:
        item = world.scene.item(skill.object)
        if skill.verb == "pick":
            world.pose_state({item.name: skills.carry_pose(world, item)}, "carry", item.size)
        else:
            pose = skills.place_pose(world, item.name, skill.target, skill.relation)
            world.pose_state({item.name: pose})
