"""Subgoals: one skill in words, and back."""

from sim.language.grammar import match
from sim.scene import TABLE, Scene, Skill, names_in, pair

# By kind of skill. {first} and {second} are a target's two names.
SUBGOALS: dict[str, tuple[str, ...]] = {
    "pick": (
        "pick up the {object}",
        "grasp the {object}",
        "lift the {object}",
    ),
    "place on": (
        "place the {object} on the {target}",
        "put the {object} on top of the {target}",
        "set the {object} down on the {target}",
    ),
    "place in": (
        "place the {object} in the {target}",
        "put the {object} into the {target}",
        "drop the {object} in the {target}",
    ),
    "place left_of": (
        "place the {object} to the left of the {target}",
        "put the {object} down left of the {target}",
        "set the {object} on the left side of the {target}",
    ),
    "place right_of": (
        "place the {object} to the right of the {target}",
        "put the {object} down right of the {target}",
        "set the {object} on the right side of the {target}",
    ),
    "place in_front_of": (
        "place the {object} in front of the {target}",
        "put the {object} down on the near side of the {target}",
        "set the {object} before the {target}",
    ),
    "place behind": (
        "place the {object} behind the {target}",
        "put the {object} down on the far side of the {target}",
        "set the {object} at the back of the {target}",
    ),
    "place beside": (
        "place the {object} right next to the {target}",
        "put the {object} against the {target}",
        "set the {object} down touching the {target}",
    ),
    "place between": (
        "place the {object} between the {first} and the {second}",
        "put the {object} in the middle of the {first} and the {second}",
        "set the {object} down between the {first} and the {second}",
    ),
    "place across": (
        "place the {object} on both the {first} and the {second}",
        "put the {object} across the {first} and the {second}",
        "set the {object} on top of the {first} and the {second}",
    ),
    "open": (
        "open the {object}",
        "pull the {object} open",
        "move the knob of the {object} until it is open",
    ),
    "close": (
        "close the {object}",
        "shut the {object}",
        "move the knob of the {object} until it is closed",
    ),
    "press": (
        "press the {object}",
        "push down the {object}",
        "tap the {object} with the closed gripper",
    ),
    "push": (
        "push the {object} to the {target}",
        "slide the {object} over to the {target}",
        "shove the {object} into the {target}",
    ),
}


def word_skill(skill: Skill, scene: Scene, paraphrase: int = 0) -> str:
    """A skill as a subgoal in words; `paraphrase` counts through the templates."""
    templates = SUBGOALS[_kind(skill, scene)]
    template = templates[paraphrase % len(templates)]
    names = names_in(skill.target)
    return template.format(object=skill.object, target=skill.target, first=names[0], second=names[-1])


def parse_skill(text: str, scene: Scene) -> Skill | None:
    """The skill that a subgoal asks for, or None when the text or a name in it is unknown.

    The relation must fit the target: nothing is placed "in" a block, nor "on" a box.
    """
    for kind, templates in SUBGOALS.items():
        for template in templates:
            slots = match(template, text)
            if slots is None:
                continue
            skill = _skill(kind, slots)
            if names_known(skill, scene) and _kind(skill, scene) == kind:
                return skill
    return None


def _skill(kind: str, slots: dict[str, str]) -> Skill:
    verb, _, relation = kind.partition(" ")
    target = slots.get("target", "")
    if "first" in slots:
        target = pair(slots["first"], slots["second"])
    return Skill(verb, slots["object"], target, "" if relation in ("in", "on") else relation)


def _kind(skill: Skill, scene: Scene) -> str:
    if skill.verb != "place":
        return skill.verb
    if skill.relation:
        return f"place {skill.relation}"
    return "place in" if scene.receptacle(skill.target) is not None else "place on"


def names_known(skill: Skill, scene: Scene) -> bool:
    """Whether the scene has what the skill names, each of the sort that the verb needs."""
    objects = {item.name for item in scene.items}
    receptacles = {r.name for r in scene.receptacles}
    names = names_in(skill.target)
    if skill.verb == "pick":
        return skill.object in objects
    if skill.verb in ("open", "close"):
        return skill.object in {r.name for r in scene.receptacles if r.opens}
    if skill.verb == "press":
        return skill.object in {button.name for button in scene.buttons}
    if skill.verb == "push":
        return skill.object in objects and skill.target in receptacles
    if skill.object not in objects or skill.object in names:
        return False
    if skill.relation:
        return set(names) <= objects and len(set(names)) == len(names)
    return skill.target in objects | receptacles | {TABLE}
