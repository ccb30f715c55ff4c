from perfagent.emulator.clients import ClientLog, seen


def busy() -> ClientLog:
    log = ClientLog()
    log.first_token(0.5, 0.2)
    log.tokens(0.6, 0.1, 1)
    log.tokens(1.7, 0.3, 3)
    log.finished(1.9, 2.0)
    log.finished(2.1, 4.0)
    return log


def test_means_are_over_what_happened_in_the_window() -> None:
    whole = seen([busy()], 0, 10)
    assert whole.finished == 2
    assert whole.ttft_mean_s == 0.2
    assert whole.itl_mean_s == (0.1 + 3 * 0.3) / 4
    assert whole.e2e_mean_s == 3.0
    assert whole.tokens_per_s == 0.5
    second = seen([busy()], 1, 2)
    assert (second.finished, second.ttft_mean_s, second.e2e_mean_s) == (1, None, 2.0)
    assert second.itl_mean_s is not None
    assert abs(second.itl_mean_s - 0.3) < 1e-12


def test_where_nothing_was_seen_there_is_no_mean() -> None:
    quiet = seen([ClientLog()], 0, 10)
    assert (quiet.ttft_mean_s, quiet.itl_mean_s, quiet.e2e_mean_s, quiet.tokens_per_s) == (None, None, None, 0)


def test_replicas_are_taken_together() -> None:
    both = seen([busy(), busy()], 0, 10)
    assert (both.finished, both.e2e_mean_s, both.tokens_per_s) == (4, 3.0, 1.0)


def test_those_who_got_nothing_are_counted_apart() -> None:
    log = ClientLog()
    log.refused(0.1)
    log.gave_up(0.2)
    log.lost(3.5, 4)
    all_of_them = seen([log], 0, 4)
    assert (all_of_them.refused, all_of_them.gave_up, all_of_them.lost) == (1, 1, 4)
    assert seen([log], 0, 1).lost == 0
