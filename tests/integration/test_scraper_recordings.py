"""Every recorded page, in the repository and at hand, reads as the reference reads it."""

from perfagent.collectors.exposition import Scanner
from support.pages import by_reference, fixture_pages, recorded_pages, same


def test_every_recorded_page_reads_as_the_reference_reads_it() -> None:
    scanner = Scanner()
    for path in fixture_pages() + recorded_pages():
        page = path.read_text()
        assert same(scanner.scan(page), by_reference(page)), path
