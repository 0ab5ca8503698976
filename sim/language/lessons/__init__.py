"""Words of the tasks besides plans: questions and answers, and back. A file a task.

As in the grammar of instructions, one table drives both directions. Knows names, not physics.
"""
