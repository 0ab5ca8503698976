"""Made-up results files, as `emu-planner bench sim` writes them."""

from typing import Any

from sim.bench.metrics import VECTOR


def row(planner: str, scene: str, score: float | None, *, closed: float = 1.0, opened: float = 1.0) -> dict:
    """One scene's row; picture metrics follow the score."""
    vector: dict[str, float | None] = dict.fromkeys(VECTOR, score)
    vector |= {"success_closed": closed, "success_open": opened}
    return {
        "job": f"{planner} {scene}", "kind": "score", "planner": planner, "scene": scene,
        "instruction": "stack the <red> block", "metrics": vector, "score": score, "steps": [],
        "denominator": 2, "reason": "stop", "faults": [], "why": ["step 1 (x): lost & gone"],
        "plan_valid": bool(opened), "closed_loop_subgoals": [],
    }  # fmt: skip


def results(planner: str, scores: dict[str, float], **changes: Any) -> dict:
    """A file of one planner with a score a scene."""
    return {
        "suite": {"name": "quick", "version": 1, "sha256": "f" * 64},
        "planner": {"name": planner},
        "plan_limit_s": 300.0,
        "versions": {"scorer_sha256": "1" * 64, "numpy": "2"},
        "about": {"machine": "here"},
        "scenes": list(scores),
        "gate": {"passed": True, "right": 99, "trials": 100, "why": "99 of 100"},
        "ceiling": [],
        "entrants": {
            planner: [
                row(planner, scene, score, closed=float(score > 0.5)) for scene, score in scores.items()
            ]
        },
        **changes,
    }
