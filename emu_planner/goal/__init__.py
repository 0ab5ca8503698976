"""One task from its sentence to its end: plan, review, outcomes, plan again; hold and epochs.

goal.py is the logic, with its words in states.py, feed.py the newest pictures with health.py's view of
them. Speaks the plan nouns alone: no ROS, no page, no model; ros/ and console/ are its two faces.
"""
