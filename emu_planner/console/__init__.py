"""The operator's page: live cameras, one sentence, a plan that a person reviews step by step.

robot.py is the protocol between page and robot, with its nouns; local.py a robot in this process;
hub.py what all pages look at; record.py and replay.py sessions on disk; page.py, parts.py and
history.py what is drawn; gate.py who may come in; app.py the web server. The page knows neither
ROS nor gRPC nor simulator: the adapters for those are put together in cli/.
"""
