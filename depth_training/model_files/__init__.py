"""What is done with a finished model: exported and compared, described, its confidence calibrated."""
