from perfagent.domain.machine import Machine, ModelShape

SHAPE, OTHER = ModelShape(8e9, 32, 8, 128), ModelShape(7e9, 28, 4, 128)
FOUND = Machine("h100", 2, SHAPE, gpu_from="it says so", shape_from="by its name")


def test_what_nobody_told_is_what_was_found() -> None:
    assert Machine().completed(FOUND) == FOUND
    assert FOUND.completed(Machine()) == FOUND


def test_what_was_told_stands_and_a_gpu_with_how_many_there_are() -> None:
    assert Machine("l40s", 1, OTHER).completed(FOUND) == Machine("l40s", 1, OTHER)
    assert Machine("l40s").completed(FOUND) == Machine("l40s", 1, SHAPE, shape_from="by its name")
    assert Machine(None, 4, OTHER).completed(FOUND) == Machine("h100", 4, OTHER, gpu_from="it says so")
