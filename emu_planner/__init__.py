"""emu_planner: a robot's camera frames and one sentence in, a plan of words and imagined keyframes out.

Rooms: plan (the nouns), wire (gRPC), model (the network), engine (generation), training,
service (a Planner behind gRPC), ros (a Planner behind ROS 2), console (the operator's page),
weights (the embedded default checkpoint). Importing this package imports none of them.
"""

__version__ = "0.1.0"
