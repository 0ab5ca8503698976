"""The robot's end of a plan: the ExecuteSubgoal action and the rules that an executor keeps.

rules.py says which subgoal may be carried out, executor.py is the action server around any body,
by_hand.py a whole node of it, to be copied for a robot of one's own. Knows no planner and no
simulator; it needs rclpy and the messages.
"""
