"""A model run on images, folders and videos, and what it answers written to files."""
