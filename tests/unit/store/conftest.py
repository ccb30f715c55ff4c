from collections.abc import Iterator

import pytest

from perfagent.store.database import Database, open_database


@pytest.fixture
def database() -> Iterator[Database]:
    with open_database(None) as opened:
        yield opened
