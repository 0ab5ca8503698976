"""Any Planner behind ROS 2 topics, services and one action.

planner_node.py is the node, goal.py the logic of one goal with its words in states.py, feed.py the
cameras' newest pictures, convert.py messages to nouns and back, outputs.py the publishers, voice.py
what is said on them, params.py the parameters. goal, states and feed know no ROS; none knows a
model, and no motion is published.
"""
