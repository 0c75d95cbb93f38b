"""The conveyor belts: order, bounds, and errors that cross threads."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.predict.ahead import ahead, behind


class Spilt(Exception):
    pass


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
def test_both_belts_keep_everything_in_order(items, depth):
    assert list(ahead((i for i in items), depth)) == items
    kept = []
    with behind(kept.append, depth) as give:
        for item in items:
            give(item)
    assert kept == items


def test_the_generator_lives_in_one_other_thread_from_its_first_line_to_its_clean_up():
    seen = []

    def items():
        seen.append(threading.get_ident())
        try:
            for i in range(9):
                seen.append(threading.get_ident())
                yield i
        finally:
            seen.append(threading.get_ident())

    for item in ahead(items(), 3):
        if item == 4:
            break
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()
    assert len(seen) <= 2 + 4 + 1 + 3 + 1


def test_reading_is_at_most_depth_ahead():
    made = []
    belt = ahead((made.append(i) or i for i in range(100)), 4)
    next(belt)
    time.sleep(0.1)
    assert len(made) <= 1 + 4
    belt.close()
    assert len(made) <= 1 + 4


def test_writing_is_at_most_depth_behind():
    gate, done = threading.Event(), []

    def slow(item):
        gate.wait(5)
        done.append(item)

    with behind(slow, 2) as give:
        give(0)
        give(1)
        threading.Timer(0.1, gate.set).start()
        give(2)  # blocks until the first is done
        assert done[0] == 0
    assert done == [0, 1, 2]


def test_an_error_of_the_reader_comes_out_after_the_items_before_it():
    def items():
        yield 1
        raise Spilt("reader")

    got = []
    with pytest.raises(Spilt, match="reader"):
        got.extend(ahead(items(), 3))
    # nothing is lost but what stood behind the error
    assert got in ([], [1])
    belt = ahead(items(), 3)
    assert next(belt) == 1
    with pytest.raises(Spilt):
        next(belt)


def test_an_error_of_the_writer_comes_out_and_stops_the_work():
    done = []

    def work(item):
        if item == 2:
            raise Spilt("disk")
        done.append(item)

    def feed():
        with behind(work, 1) as give:
            for item in range(100):
                give(item)

    with pytest.raises(Spilt, match="disk"):
        feed()
    assert done[:2] == [0, 1]
    assert len(done) < 6


def test_an_error_of_the_caller_drops_waiting_work_and_ends_the_thread():
    before = threading.active_count()
    gate, done = threading.Event(), []

    def feed():
        with behind(lambda i: (gate.wait(5), done.append(i)), 8) as give:
            for item in range(8):
                give(item)
            gate.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feed()
    assert len(done) < 8
    assert threading.active_count() == before
