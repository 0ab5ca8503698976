"""The v1 wire: planner.proto, its generated code, the codec, and RemotePlanner.

All that a robot installs besides plan/. Knows no model, no server and no ROS.
"""
