"""``python -m depth_training``."""

from depth_training.cli import main

main()
