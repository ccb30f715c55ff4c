"""What holds for every test: an example may take as long as a busy machine makes it take; the timeout is per test.

`pytest --hypothesis-profile=thorough` draws more examples of every property.
"""

from hypothesis import settings

settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile("quick")
