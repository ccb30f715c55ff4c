from collections.abc import AsyncIterator, Iterator

import pytest
import respx

from support.api import Site, site


@pytest.fixture
async def at() -> AsyncIterator[Site]:
    async with site() as built:
        yield built


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router
