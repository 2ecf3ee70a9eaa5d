"""Training, evaluation and export of monocular depth networks; needs no ROS."""
