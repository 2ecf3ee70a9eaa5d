"""Reading, splitting and augmenting image and depth pairs."""
