"""Recorded pages, in the repository and at hand, read as the reference reads them."""

import pytest

from perfagent.collectors.exposition import Scanner
from support.pages import by_reference, fixture_pages, recorded_pages, same

PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_every_recorded_page_reads_as_the_reference_reads_it(part: int) -> None:
    scanner = Scanner()
    for path in (fixture_pages() + recorded_pages())[part::PARTS]:
        page = path.read_text()
        assert same(scanner.scan(page), by_reference(page)), path
