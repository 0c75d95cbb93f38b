"""Curves on disk: a resumed run's lines follow on those before its checkpoint, none twice and none missing."""

import csv

import pytest
from fakes import legend_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geosemi.metrics import Confusion, score
from geosemi.train.journal import Journal


def lines(path):
    with path.open() as file:
        return list(csv.reader(file))


def scores(right):
    confusion = Confusion(3)
    confusion.matrix[:] = [[right, 1, 0], [0, right, 2], [0, 0, right]]
    return score(confusion, legend_of(3))


def write(folder, start, stop, *, validate=(), scale=1.0):
    with Journal(folder, start, active=True) as journal:
        for step in range(start, stop):
            journal.step(step, {"loss": scale * step, "lr": 0.1})
            if step + 1 in validate:
                journal.validation(step + 1, scores(10 * (step + 1)))


def test_lines_of_one_run(tmp_path):
    write(tmp_path, 0, 3, validate=(2,))
    assert lines(tmp_path / "metrics.csv") == [
        ["step", "loss", "lr"],
        ["0", "0", "0.1"],
        ["1", "1", "0.1"],
        ["2", "2", "0.1"],
    ]
    head, row = lines(tmp_path / "validation.csv")
    assert head[:5] == ["step", "miou", "mf1", "oa", "kappa"]
    assert head[5:] == [f"{f} class {c}" for f in ("iou", "f1") for c in "abc"]
    assert float(row[1]) == pytest.approx(scores(20).miou, rel=1e-5)


def test_steps_that_run_again_are_cut(tmp_path):
    write(tmp_path, 0, 9, validate=(3, 6, 9))
    write(tmp_path, 6, 8, scale=100)  # from the checkpoint of step 6
    table = lines(tmp_path / "metrics.csv")[1:]
    assert [r[0] for r in table] == [str(i) for i in range(8)]
    assert [r[1] for r in table[5:]] == ["5", "600", "700"]


def test_validations_before_the_checkpoint_are_kept(tmp_path):
    write(tmp_path, 0, 9, validate=(3, 6, 9))
    write(tmp_path, 6, 9, validate=(9,))
    assert [r[0] for r in lines(tmp_path / "validation.csv")[1:]] == ["3", "6", "9"]


def test_tensorboard_forgets_what_runs_again(tmp_path):
    write(tmp_path, 0, 9, validate=(3, 6, 9))
    write(tmp_path, 6, 8, scale=100)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [
        *((s + 1, s) for s in range(6)), (7, 600), (8, 700),
    ]  # fmt: skip
    assert [e.step for e in events.Scalars("validation/miou")] == [3, 6]


def test_a_line_cut_by_a_kill_is_dropped(tmp_path):
    write(tmp_path, 0, 4)
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text()[:-4])  # "3,3,0.1" lost its end
    write(tmp_path, 3, 5)
    assert [r[0] for r in lines(path)[1:]] == ["0", "1", "2", "3", "4"]
    assert all(len(r) == 3 for r in lines(path))


def test_a_flush_puts_every_line_on_disk(tmp_path):
    with Journal(tmp_path, 0, active=True) as journal:
        for step in range(1, 8):
            journal.step(step, {"loss": 1.0})
        journal.flush()
        assert len(lines(tmp_path / "metrics.csv")) == 8


def test_facts_that_come_later_get_columns_at_the_end(tmp_path):
    with Journal(tmp_path, 0, active=True) as journal:
        journal.step(0, {"loss": 1.0, "lr": 0.1})
        journal.step(1, {"lr": 0.2, "more": 3.0})
        journal.step(2, {"loss": 2.0, "lr": 0.3})
    assert lines(tmp_path / "metrics.csv") == [
        ["step", "loss", "lr", "more"], ["0", "1", "0.1", "nan"], ["1", "nan", "0.2", "3"], ["2", "2", "0.3", "nan"],
    ]  # fmt: skip


def test_other_ranks_write_nothing(tmp_path):
    with Journal(tmp_path, 0, active=False) as journal:
        journal.step(0, {"loss": 1.0})
        journal.validation(1, scores(3))
        journal.flush()
    assert list(tmp_path.iterdir()) == []
