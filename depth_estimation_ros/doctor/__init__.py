"""Looks at a running robot and says what keeps depth from coming, and what to do: ``ros2 run … doctor``."""
