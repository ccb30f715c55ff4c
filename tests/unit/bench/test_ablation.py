from perfagent.bench.ablation import FLAGS, right_without, without
from perfagent.domain.knob import EffectiveConfig, Knob, Setting, Source
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window
from support.windows import window

UNKNOWN = EffectiveConfig({})
EIGHT = EffectiveConfig({Knob.MAX_NUM_SEQS: Setting(8, Source.FLAG)})


def seats_taken(running: str = "8x8") -> Window:
    """A queue grows while eight run and the KV cache is nearly empty."""
    return window(
        running=running,
        waiting="5..60x8",
        kv_usage="0.1x8",
        preemptions="0x8",
        finished="0..35x8",
        generation_tokens="0..8750x8",
        queue_time=[[8.0] * 5] * 7,
        e2e=[[10.6] * 5] * 7,
        draft_tokens="0..900x8",
        accepted_tokens="0..800x8",
    )


def test_a_batch_limit_needs_who_runs_and_who_waits_and_no_draft_tokens() -> None:
    right = right_without([(seats_taken(), EIGHT)], {"batch_limit"})
    assert not right[Metric.RUNNING]
    assert not right[Metric.WAITING]
    assert right[Metric.DRAFT_TOKENS]


def test_only_what_is_there_is_left_out() -> None:
    seen = window(running="8x8", waiting="5..60x8")
    assert list(right_without([(seen, UNKNOWN)], {"batch_limit"})) == [Metric.RUNNING, Metric.WAITING]
    assert FLAGS in right_without([(seen, EIGHT)], {"batch_limit"})


def test_a_limit_that_is_not_always_reached_is_known_by_its_flag_alone() -> None:
    assert right_without([(seats_taken(), EIGHT)], {"batch_limit"})[FLAGS]
    assert not right_without([(seats_taken("8 8 6 8 8 5 8 8"), EIGHT)], {"batch_limit"})[FLAGS]


def test_silence_is_right_where_nothing_is_accepted_as_well() -> None:
    assert all(right_without([(seats_taken(), EIGHT)], {"batch_limit", "overload", "none"}).values())


def test_a_metric_is_left_out_on_every_page_of_every_replica() -> None:
    views = [(seats_taken(), EIGHT)] * 3
    assert not right_without(views, {"batch_limit"})[Metric.WAITING]
    rest = without(without(seats_taken(), Metric.E2E), Metric.RUNNING)
    assert [page.at_s for page in rest.snapshots] == [page.at_s for page in seats_taken().snapshots]
    for page in rest.snapshots:
        assert Metric.E2E not in page.histograms
        assert Metric.RUNNING not in page.scalars
        assert {Metric.QUEUE_TIME, Metric.WAITING} <= {*page.histograms, *page.scalars}
