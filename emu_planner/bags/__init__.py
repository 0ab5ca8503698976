"""A planning session as a rosbag2 file: recorded, read, planned again, shown.

Reading and replaying need rosbags; recording needs rclpy as well. Knows no model and no simulator.
"""
