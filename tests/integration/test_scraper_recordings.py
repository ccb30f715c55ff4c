"""Every recorded page at hand reads as the reference reads it."""

import pytest

from perfagent.collectors.exposition import Scanner
from support.pages import by_reference, recorded_pages, same


@pytest.mark.skipif(not recorded_pages(), reason="no recordings at hand")
def test_every_recorded_page_reads_as_the_reference_reads_it() -> None:
    scanner = Scanner()
    for path in recorded_pages():
        page = path.read_text()
        assert same(scanner.scan(page), by_reference(page)), path
