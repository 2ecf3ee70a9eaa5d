"""What holds for all tiers."""

from hypothesis import settings

# No test asserts times, and the first example of a property may pay for an import.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
