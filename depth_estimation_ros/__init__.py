"""Metric depth images and point clouds from one colour camera, for ROS 2."""
