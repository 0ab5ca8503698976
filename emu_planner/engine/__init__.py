"""Generation: how the model's next tokens are computed, restricted, chosen and read.

EmuPlanner reads them as a robot's plan, Generator as text and pictures of any task.

Knows the Planner protocol and the model; no network, robot or simulator.
"""
