"""The scanner reads what the reference reads, and never half a page."""

from contextlib import suppress
from math import inf, isnan, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page

from perfagent.collectors import exposition
from perfagent.collectors.exposition import Scanner, scan
from perfagent.domain.errors import BadAnswer, TooLarge
from perfagent.domain.snapshot import Sample
from support.pages import by_openmetrics_reference, by_reference, fixture_pages, recorded_pages, same

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
KEYS = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from('{}=,# "\\\n\t_\r\v\u2028'), st.characters(codec="utf-8")), max_size=12
)
NUMBERS = st.one_of(
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "Inf", "nan", "1e5", "+3", "-0", ".5", "5."]),
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])
GAPS = st.sampled_from([" ", "\t", "   "])
ENDS = st.sampled_from(["\n", "\r\n", " \n", "\n\n"])


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@st.composite
def lines(draw: st.DrawFn) -> str:
    labels = draw(st.dictionaries(KEYS, TEXTS, max_size=4))
    name, gap, blank = draw(NAMES), draw(GAPS), draw(BLANKS)
    pairs = [f'{blank}{key}{draw(BLANKS)}={draw(BLANKS)}"{escaped(value)}"' for key, value in labels.items()]
    block = ",".join(pairs) + (draw(st.sampled_from(["", ",", blank])) if pairs else "")
    bare: bool = draw(st.booleans())
    braces = f"{draw(BLANKS)}{{{block}}}" if pairs or not bare else ""
    stamp = draw(st.sampled_from(["", "", f"{gap}1395066363000", f"{gap}-3982045"]))
    exemplar = draw(st.sampled_from(["", "", ' # {trace_id="a b} 7"} 0.67', " # {} 1 1520879607.789"]))
    tail = f"{stamp}{exemplar}" if braces and gap == " " else stamp
    return f"{name}{braces}{gap}{draw(NUMBERS)}{tail}"


COMMENTS = st.sampled_from(["# HELP a b{c} 1", "# TYPE a counter", "# a comment", "#", "", "  ", "  # indented"])
LINES = st.builds("".join, st.tuples(st.one_of(lines(), lines(), COMMENTS), ENDS))
PAGES = st.lists(LINES, max_size=5).map("".join)


@pytest.mark.parametrize(
    "path", fixture_pages()[::8] + recorded_pages()[::50], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_recorded_page_reads_as_the_reference_reads_it(path: Path) -> None:
    page = path.read_text()
    expected = by_openmetrics_reference(page) if path.suffix == ".om" else by_reference(page)
    assert same(scan(page), expected)
    assert same(scan(path.read_bytes()), expected)


@given(PAGES)
def test_a_made_page_reads_as_the_reference_reads_it(page: str) -> None:
    assert same(scan(page), by_reference(page))


@given(PAGES, st.sets(NAMES, max_size=3))
def test_only_what_is_wanted_is_read_and_all_of_it(page: str, extra: set[str]) -> None:
    everything = scan(page)
    wanted = frozenset(extra | {sample.name for sample in everything[::2]})
    assert same(scan(page, wanted), [sample for sample in everything if sample.name in wanted])


@given(st.lists(PAGES, max_size=2))
def test_what_a_scanner_remembers_never_changes_what_it_reads(pages: list[str]) -> None:
    scanner = Scanner()
    for page in pages + pages:
        assert same(scanner.scan(page), scan(page))


@given(LINES, st.integers(0, 60), st.text(alphabet='ab{}"=, 1_#\\\n\t', max_size=2))
def test_no_damaged_line_is_read_otherwise_than_the_reference_reads_it(line: str, at: int, wedge: str) -> None:
    damaged = line[:at] + wedge + line[at + 1 :] + "\n"
    with suppress(BadAnswer):
        ours = scan(damaged)
        with suppress(ValueError, IndexError):
            assert same(ours, by_reference(damaged))


@given(PAGES, st.data())
def test_a_page_that_is_cut_off_never_yields_a_wrong_number(page: str, data: st.DataObject) -> None:
    whole = page.encode()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with suppress(BadAnswer):
        ours = scan(cut)
        assert same(ours, scan(whole)[: len(ours)])


def test_a_last_line_without_newline_may_lack_digits() -> None:
    with pytest.raises(BadAnswer, match=r"cut off in line 2: 'b 12'"):
        scan("a 1\nb 12")


def test_openmetrics_may_end_without_newline_but_not_without_eof() -> None:
    assert Scanner().scan("a 1\n# EOF", openmetrics=True) == [Sample("a", (), 1)]
    assert Scanner().scan("a 1\n# EOF\n", openmetrics=True) == [Sample("a", (), 1)]
    with pytest.raises(BadAnswer, match="cut off after line 1: OpenMetrics ends with '# EOF'"):
        Scanner().scan("a 1\n", openmetrics=True)


def test_an_openmetrics_page_reads_as_the_reference_reads_it() -> None:
    registry = CollectorRegistry()
    counter = Counter("done", "Requests.", ["who"], registry=registry)
    counter.labels('a "b", {c} # d').inc(3, exemplar={"trace_id": "x} 9"})
    Gauge("level", "A level.", registry=registry).set(nan)
    seconds = Histogram("wait", "Seconds.", registry=registry)
    seconds.observe(0.3, exemplar={"span": "1"})
    page = openmetrics_page(registry).decode()  # type: ignore[no-untyped-call]
    assert same(Scanner().scan(page, openmetrics=True), by_openmetrics_reference(page))
    assert {"done_total", "done_created", "wait_bucket", "wait_sum"} <= {sample.name for sample in scan(page)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('a{b="x\\\\y\\"z\\n"} 1', Sample("a", (("b", 'x\\y"z\n'),), 1)),
        ('a{b="}, c=\\"# {"} 1', Sample("a", (("b", '}, c="# {'),), 1)),
        ('a{b="x",} 1', Sample("a", (("b", "x"),), 1)),
        ("a{} 1", Sample("a", (), 1)),
        ("a\t1\t1395066363000", Sample("a", (), 1)),
        ('a{b="c"}1', Sample("a", (("b", "c"),), 1)),
        ('a_bucket{le="+Inf"} 7 # {trace_id="KOO"} 0.67 1.5', Sample("a_bucket", (("le", "+Inf"),), 7)),
        ("a 7 # {} 0.67", Sample("a", (), 7)),
        ("a +Inf", Sample("a", (), inf)),
        ("a -Inf\r", Sample("a", (), -inf)),
        ('{"na.me", "b c"="d"} 1', Sample("na.me", (("b c", "d"),), 1)),
        ('{"plain"} 1', Sample("plain", (), 1)),
    ],
)
def test_every_form_of_a_sample_is_read(line: str, expected: Sample) -> None:
    assert scan(line + "\n") == [expected]


def test_nan_is_read_as_nan() -> None:
    (sample,) = scan("a NaN\n")
    assert isnan(sample.value)


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        '{"detail": "Not Found"}',
        "a",
        "a ",
        "5",
        " 5",
        "a 1_000",
        "a 0x1p3",
        "a{5",
        'a{b="c" 5',
        'a{b="c"d="e"} 5',
        'a{b="c",b="d"} 5',
        'a{b="c",b="\\\\"} 5',
        "a{b=c} 5",
        'a{="c"} 5',
        'a{""="c"} 5',
        'a{"b"} 5',
        'a{"b",c="d"} 5',
        '{"a","b"} 5',
        '{""} 5',
        '{a="b"} 5',
        "a 5 tomorrow",
        "a 5 # remark",
        "9a 5",
        "a-b 5",
    ],
)
def test_one_line_that_does_not_parse_spoils_the_page(line: str) -> None:
    with pytest.raises(BadAnswer, match="line 2 is not a sample"):
        scan(f"good 1\n{line}\ngood 2\n", frozenset({"good", "a"}))


def test_labels_that_are_not_wanted_are_not_looked_at() -> None:
    assert scan("odd{b=c} 5\ngood 1\n", frozenset({"good"})) == [Sample("good", (), 1)]


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(BadAnswer, match="not UTF-8 text: invalid start byte at byte 2"):
        scan(b"a \xff\n")


def test_a_page_without_end_is_refused() -> None:
    page = "".join(f'a{{b="{i}"}} 1\n' for i in range(10))
    assert len(Scanner(max_lines=11).scan(page)) == 10
    with pytest.raises(TooLarge, match="more than 10 lines"):
        Scanner(max_lines=10).scan(page)


def test_a_series_too_long_to_be_remembered_is_read_all_the_same() -> None:
    value = "x" * 5000
    assert scan(f'a{{b="{value}"}} 1\n') == [Sample("a", (("b", value),), 1)]


def test_what_a_scanner_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MAX_REMEMBERED", 1000)
    scanner = Scanner()
    for start in range(0, 2000, 500):
        ranks = range(start, start + 500)
        page = "".join(f'a{{rank="{rank}"}} {rank}\n' for rank in ranks)
        assert [sample.value for sample in scanner.scan(page)] == list(ranks)
        assert 0 < len(scanner._known) <= 1000


def test_an_empty_page_has_no_samples() -> None:
    assert scan("") == scan("\n \n") == []
