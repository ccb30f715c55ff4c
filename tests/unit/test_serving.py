"""Where an application can listen."""

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.serving import listen


@pytest.mark.parametrize("host", ["é" * 80, "300.0.0.1"])
def test_a_host_that_is_none_is_wrong_use(host: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be listened on"):
        listen(host, 0)
