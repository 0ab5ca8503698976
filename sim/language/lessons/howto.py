"""How something is done, in illustrated steps: the question, the steps, and what is thought on the way."""

import re

import numpy as np

from sim.language.instructions import parse_instruction
from sim.language.lessons.phrases import listed, stands
from sim.language.subgoals import parse_skill, word_skill
from sim.scene import Fact, Goal, Scene, Skill
from sim.state import SymbolicState

QUESTIONS = (
    "show me how to do this: {instruction}.",
    "how is this done: {instruction}?",
    "explain with pictures: {instruction}.",
    "a guide with pictures, please: {instruction}.",
    "teach me step by step: {instruction}.",
)
# How the published prompts say how many steps there should be
COUNT = " Please provide {n} steps for the task."
_COUNT = re.compile(r"^(.*?) Please provide (\d+) steps for the task\.$")
_STEP = re.compile(r"^step (\d+): (.*)\.$", re.IGNORECASE)


def word_question(instruction: str, rng: np.random.Generator, steps: int | None) -> str:
    """One paraphrase; steps: how many are asked for."""
    question = QUESTIONS[int(rng.integers(len(QUESTIONS)))].format(instruction=instruction)
    return question + (COUNT.format(n=steps) if steps else "")


def parse_question(text: str, scene: Scene) -> tuple[Goal, int | None] | None:
    """The goal, and how many steps are asked for; None: not understood."""
    counted = _COUNT.match(text)
    question = counted[1] if counted else text
    for template in QUESTIONS:
        begin, end = template.split("{instruction}")
        if question.startswith(begin) and question.endswith(end):
            goal = parse_instruction(question[len(begin) : len(question) - len(end)], scene)
            if goal is not None:
                return goal, int(counted[2]) if counted else None
    return None


def word_step(number: int, skill: Skill, scene: Scene, paraphrase: int) -> str:
    """Step `number`, from 1."""
    return f"Step {number}: {word_skill(skill, scene, paraphrase)}."


def parse_step(text: str, scene: Scene) -> tuple[int, Skill] | None:
    """The number of a step and what is done in it; None: not understood."""
    found = _STEP.match(text.strip())
    skill = parse_skill(found[2], scene) if found else None
    return (int(found[1]), skill) if found and skill is not None else None


def think(state: SymbolicState, steps: list[str]) -> str:
    """The thought before the first step: how things are, and what has to be done."""
    now = listed([stands(fact) for fact in (*state.where, *state.parts)])
    todo = ", then ".join(steps)
    return f"Now {now}. This takes {len(steps)} step{'s' * (len(steps) > 1)}: {todo}."


def think_picture(before: SymbolicState, after: SymbolicState) -> str:
    """The thought before a picture: what is new in it."""
    told = changed(before, after)
    news = listed([stands(fact) for fact in told]) if told else "everything looks as before"
    return f"In the picture {news}. All else stays."


def changed(before: SymbolicState, after: SymbolicState) -> list[Fact]:
    """Facts about places and moving parts that are true now and were not."""
    was = {*before.where, *before.parts}
    return [fact for fact in (*after.where, *after.parts) if fact not in was]
