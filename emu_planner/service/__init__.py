"""Any Planner behind gRPC. Knows no model, no ROS and no torch: a composition root hands it a Planner."""
