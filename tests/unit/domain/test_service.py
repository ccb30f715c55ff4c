import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.policy import Policy
from perfagent.domain.service import Service, check_service, replica
from perfagent.domain.share import Share
from perfagent.domain.snapshot import Target


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("http://10.0.3.11:8000", "10.0.3.11:8000"),
        ("http://10.0.3.11:8000/", "10.0.3.11:8000"),
        ("http://10.0.3.11:8000/metrics", "10.0.3.11:8000"),
        ("HTTP://Host", "host:80"),
        ("https://host", "host:443"),
        ("http://gateway/llm/a", "gateway:80/llm/a"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_address_makes_a_replicas_id_however_it_is_written(url: str, at: str) -> None:
    made = replica("chat", url)
    assert made.id == f"chat/{at}"
    assert made.url.endswith(f"://{at}")
    assert replica("chat", made.url) == made


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:8000",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://u:p@host",
        "http://host?q=1",
        "http://h:x",
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        replica("chat", url)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    try:
        made = replica("chat", url)
    except InvalidInput:
        return
    assert replica("chat", made.url) == made


def service(*urls: str, stages: tuple[int, ...] = (10, 50, 100)) -> Service:
    targets = tuple(Target(url, url) for url in urls)
    return Service("chat", "vllm", targets, policy=Policy(stages=tuple(Share(each) for each in stages)))


@pytest.mark.parametrize(
    "odd",
    [
        service(),
        service("a", "a"),
        service("a", stages=()),
        service("a", stages=(50, 10, 100)),
        service("a", stages=(10, 50)),
        service("a", stages=(50, 50, 100)),
    ],
)
def test_a_service_without_replicas_with_one_twice_or_with_odd_stages_is_refused(odd: Service) -> None:
    with pytest.raises(InvalidInput):
        check_service(odd)


def test_an_ordinary_service_is_fine() -> None:
    check_service(service("a", "b"))
    check_service(service("a", stages=(100,)))
