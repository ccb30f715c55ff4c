"""What holds for every test: an example may take as long as a busy machine makes it take; the timeout is per test."""

from hypothesis import settings

settings.register_profile("busy-machine", deadline=None)
settings.load_profile("busy-machine")
