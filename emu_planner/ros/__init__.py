"""Any Planner behind ROS 2 topics, services and one action.

planner_node.py is the node around goal/, convert.py messages to nouns and back, outputs.py the
publishers, voice.py what is said on them, params.py the parameters. None knows a model, and no motion
is published.
"""
