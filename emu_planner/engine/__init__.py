"""Generation: how the model's next tokens are computed, restricted, chosen and read as a plan.

Knows the Planner protocol and the model; no network, robot or simulator.
"""
