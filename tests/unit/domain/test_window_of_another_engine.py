from perfagent.domain.window import Window, resets, since_restart
from support.windows import window


def test_a_replica_that_runs_another_engine_was_restarted() -> None:
    before, after = window(generation_tokens="5"), window(generation_tokens="0 9 9", engine="sglang")
    whole = Window((before.snapshots[0], *after.snapshots[1:]))
    assert resets(whole) == 1
    assert since_restart(whole).engine == "sglang"
    assert len(since_restart(whole).snapshots) == 2
