"""Judging models and other people's predictions: one at a time, and against each other."""
