"""The benchmark of plans: who is asked, how plans are judged, kept, compared and reported.

suite.py names scenes; trail.py knows what really happens in one; imagined.py reads keyframes;
judge.py makes rows, metrics.py their numbers, gate.py says whether pictures may be scored at all;
controls.py and cheats.py are planners without planning; supervisor.py holds the planner under test
in a process of its own; ledger.py and runner.py keep rows and run workers; compare.py and report.py
read them. Knows no model.
"""
