"""The paper's experiments (sections 3.2 to 3.4) as one resumable command, and their report."""
