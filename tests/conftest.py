"""What holds for every test: an example may take as long as a busy machine makes it take; the timeout is per test.

`pytest --hypothesis-profile=thorough` draws more examples of every property.
"""

import gc
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import respx
from hypothesis import settings

from support.postgres import Postgres, postgres

if TYPE_CHECKING:
    from support.api import Site

settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile("quick")


@pytest.fixture
async def at() -> AsyncIterator["Site"]:
    from support.api import site  # the process that only hands tests out need not wait for the whole agent

    async with site() as built:
        yield built


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server; a test that needs one fails where it cannot be started."""
    with postgres() as running:
        yield running


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def pytest_collection_finish() -> None:
    """Everything imported stays: the garbage collector need not look at it again and again."""
    gc.freeze()
