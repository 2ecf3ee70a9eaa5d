"""The depth node at work, end to end, on any machine with Python: camera, node and listener as separate processes."""
