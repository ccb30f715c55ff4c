from dataclasses import replace

from perfagent.twin.interval import Interval, merged

QUEUED = Interval(
    seconds=5.0, steps=100.0, decode_tokens=300.0, prompts=4.0, prompt_tokens=400.0, prefill_steps=4.0,
    context_tokens=1e5, pairs=1e5, running=3.0, waiting=7.0,
)  # fmt: skip
MANY = replace(QUEUED, running=9.0, waiting=0.0)
PART_IDLE = replace(QUEUED, running=0.0, waiting=0.0, idle_s=2.0)
UNKNOWN = replace(QUEUED, running=1.0, waiting=0.0)


def test_stretches_that_were_busy_each_for_its_own_reason_are_busy_together() -> None:
    (row,) = merged([QUEUED, MANY, PART_IDLE])
    assert row.busy
    assert row.seconds == 15.0
    assert row.busy_s == 13.0


def test_where_idle_time_can_be_neither_excluded_nor_told_there_is_no_row() -> None:
    assert merged([UNKNOWN]) == []
    (row,) = merged([UNKNOWN, QUEUED, UNKNOWN])
    assert row.seconds == 5.0
