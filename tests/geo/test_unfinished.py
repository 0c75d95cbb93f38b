"""Interrupted work: what a cut journal, other settings, a second process, damage and kills leave of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import grid_of
from test_blocks import pixels_of

import geosemi.geo.unfinished as unfinished_module
from geosemi.errors import ConfigError, OutputError
from geosemi.geo.layers import amount_layer, mask_layer
from geosemi.geo.unfinished import folder_of, tidy, unfinished
from geosemi.geo.writer import RasterSet
from geosemi.legend import ClassDef, Legend

KEY = {"scene": ["a.tif", 3], "tile": 512}
VALUES = st.lists(st.recursive(st.integers() | st.text(), lambda v: st.lists(v, max_size=3), max_leaves=5), max_size=6)


class Stop(Exception):
    """What stops the work in these tests."""


def interrupted(out, values, key=KEY, **more):
    """Do some work and stop; return what was done before."""
    try:
        with unfinished(out, key, **more) as work:
            before = list(work.done)
            for value in values:
                work.record(value)
            (work.folder / "pixels").write_text("…")
            raise Stop
    except Stop:
        return before


def left(out, key=KEY, **more):
    return interrupted(out, [], key, **more)


# --- the journal


@settings(max_examples=40)
@given(VALUES, VALUES)
def test_what_was_recorded_is_found_again(tmp_path, first, second):
    out = tmp_path / "mask.tif"
    assert interrupted(out, first, resume=False) == []
    assert interrupted(out, second) == first
    assert left(out) == first + second


@settings(max_examples=40)
@given(VALUES.filter(len), st.data())
def test_a_journal_that_is_cut_anywhere_says_what_was_whole(tmp_path, values, data):
    out = tmp_path / "mask.tif"
    interrupted(out, values, resume=False)
    journal = folder_of(out) / "journal"
    content = journal.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == len(values)
    length = data.draw(st.integers(0, len(content)))
    journal.write_bytes(content[:length])
    whole = sum(end <= length for end in ends)
    assert interrupted(out, ["next"]) == values[:whole]
    if whole or length:  # the next line stands after the last whole one, not after the torn one
        assert left(out) == [*values[:whole], "next"]


@settings(max_examples=40)
@given(VALUES.filter(len), st.data())
def test_a_damaged_line_and_what_follows_it_do_not_count(tmp_path, values, data):
    out = tmp_path / "mask.tif"
    interrupted(out, values, resume=False)
    journal = folder_of(out) / "journal"
    content = bytearray(journal.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    whole = content[:place].count(b"\n")
    content[place] ^= data.draw(st.integers(1, 255))
    journal.write_bytes(content)
    assert left(out) == values[:whole]


def test_every_cut_of_one_journal(tmp_path):
    out = tmp_path / "mask.tif"
    interrupted(out, [[1, "é\n\r"], {"a": None}, -2.5], resume=False)
    journal = folder_of(out) / "journal"
    content, key = journal.read_bytes(), (folder_of(out) / "work.json").read_bytes()
    for length in range(len(content) + 1):
        folder_of(out).mkdir(exist_ok=True)  # it was removed where nothing was done
        (folder_of(out) / "work.json").write_bytes(key)
        journal.write_bytes(content[:length])
        assert left(out) == [[1, "é\n\r"], {"a": None}, -2.5][: content[:length].count(b"\n")]


# --- the folder


def test_the_folder_goes_when_the_work_ends(tmp_path):
    out = tmp_path / "mask.tif"
    with unfinished(out, KEY) as work:
        work.record(1)
        assert work.folder == tmp_path / ".mask.tif.unfinished"
        (work.folder / "sub").mkdir()
        (work.folder / "sub" / "pixels").touch()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_goes_when_nothing_was_done(tmp_path):
    assert left(tmp_path / "mask.tif") == []
    assert list(tmp_path.iterdir()) == []


def test_the_folder_stays_with_what_was_done(tmp_path):
    interrupted(tmp_path / "mask.tif", [1])
    assert [p.name for p in tmp_path.iterdir()] == [".mask.tif.unfinished"]
    assert (folder_of(tmp_path / "mask.tif") / "pixels").exists()


def test_a_file_in_the_folders_place_is_told(tmp_path):
    folder_of(tmp_path / "mask.tif").touch()
    with pytest.raises(OutputError, match=r"mask.tif` cannot be written: File exists"):
        left(tmp_path / "mask.tif")


def test_the_key_goes_first(tmp_path, monkeypatch):
    """A kill in the middle of removing must not leave a journal that speaks of blocks that are gone."""
    out, gone, real = tmp_path / "mask.tif", [], Path.unlink
    interrupted(out, [1])
    monkeypatch.setattr(Path, "unlink", lambda self, **more: (gone.append(self.name), real(self, **more))[1])
    left(out, resume=False)
    assert gone[0] == "work.json"
    assert {"journal", "pixels"} <= set(gone)


# --- the key

OTHERS = {
    "a value": ({**KEY, "tile": 256}, "`tile` was 512, now 256"),
    "one more": ({**KEY, "bands": [1]}, r"`bands` was None, now \[1\]"),
    "one less": ({"tile": 512}, r"`scene` was \['a.tif', 3\], now None"),
    "two": ({"scene": ["b.tif", 3], "tile": 1}, r"`scene` was .*, now \['b.tif', 3\]; `tile` was 512, now 1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_work_is_not_gone_on_with(tmp_path, name):
    out, (key, told) = tmp_path / "mask.tif", OTHERS[name]
    interrupted(out, [1, 2])
    with pytest.raises(ConfigError, match=rf"mask.tif` is other work: {told}$") as caught:
        left(out, key, resume=True)
    assert caught.value.hint == "give the old values again, or begin anew with `--restart`"
    assert left(out, resume=True) == [1, 2]  # a refusal costs nothing
    assert interrupted(out, [3], key) == []
    assert left(out, key, resume=True) == [3]
    assert not (folder_of(out) / "other").exists()


def test_the_same_work_can_be_begun_anew(tmp_path):
    out = tmp_path / "mask.tif"
    interrupted(out, [1])
    assert left(out, resume=False) == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_compared_as_json(tmp_path):
    out = tmp_path / "mask.tif"
    interrupted(out, [1], {"scene": ("a.tif", 3), "tile": 512})
    assert left(out, KEY, resume=True) == [1]


@pytest.mark.parametrize("content", [b"", b'{"scene": ["a.t', b"\xff\xfe", b"[1]"])
def test_a_torn_key_is_nobodys(tmp_path, content):
    """A kill while the work began: nothing was done yet."""
    out = tmp_path / "mask.tif"
    interrupted(out, [1])
    (folder_of(out) / "work.json").write_bytes(content)
    assert left(out) == []


# --- two processes

HOLD = """
import sys
from pathlib import Path
from geosemi.geo.unfinished import unfinished
with unfinished(Path(sys.argv[1]), {"scene": ["a.tif", 3], "tile": 512}) as work:
    work.record("by the other")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
@pytest.mark.parametrize("key", [KEY, {"other": 1}])
@pytest.mark.parametrize("resume", [None, True, False])
def test_two_processes_do_not_write_one_output(tmp_path, key, resume):
    out = tmp_path / "mask.tif"
    with subprocess.Popen([sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(OutputError, match=r"another geosemi is writing `.*mask.tif`") as caught:
            left(out, key, resume=resume)
        assert "wait for it" in caught.value.hint
        assert left(tmp_path / "mask2.tif", key) == []  # another output is nobody's business
        other.kill()
    assert left(out, resume=True) == ["by the other"]  # the kernel has freed it


def test_a_lock_that_an_ending_run_removed_is_not_held(tmp_path, monkeypatch):
    """The run that held it ends between our opening and our locking."""
    fcntl = pytest.importorskip("fcntl")
    out, real = tmp_path / "mask.tif", fcntl.flock

    def late(file, how):
        Path(file.name).unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OutputError, match="another geosemi is writing"):
        left(out)


def test_a_refused_run_takes_nothing_from_one_that_has_just_begun(tmp_path, monkeypatch):
    """The other one has the folder and the lock, and its key is not written yet."""
    pytest.importorskip("fcntl")
    out, real, refused = tmp_path / "mask.tif", unfinished_module._read_key, []

    def meanwhile(folder):
        if not refused:
            refused.append(True)
            with pytest.raises(OutputError, match="another geosemi is writing"):
                left(out)
        return real(folder)

    monkeypatch.setattr(unfinished_module, "_read_key", meanwhile)
    assert interrupted(out, [1]) == []
    assert left(out) == [1]
    assert refused


# --- damage

LAYER = mask_layer(Legend(tuple(ClassDef(i, f"class {i}", f"#0000f{i}") for i in range(4))))
SURE = amount_layer(["a"], "how sure")
ROWS = pixels_of(LAYER, 1100, 90) % 4


def begun(out, count=700):
    """Hand in some rows of a mask and stop."""
    with unfinished(out, KEY) as work, RasterSet({out: LAYER}, grid_of(1100, 90), work) as rasters:
        rasters.write(0, [ROWS[:, :count]])
        raise Stop


def go_on(out, **more):
    with unfinished(out, KEY, **more) as work, RasterSet({out: LAYER}, grid_of(1100, 90), work) as rasters:
        begin = rasters.begin
        rasters.write(begin, [ROWS[:, begin:]])
        rasters.finish({})
    return begin


@pytest.mark.parametrize("how", ["a byte", "cut", "gone"])
def test_damaged_blocks_are_told_and_begun_anew(tmp_path, how):
    out = tmp_path / "mask.tif"
    with pytest.raises(Stop):
        begun(out)
    blocks = folder_of(out) / "0" / "level0"
    content = blocks.read_bytes()
    blocks.unlink()
    if how != "gone":
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        blocks.write_bytes(flipped if how == "a byte" else content[:middle])
    for _ in range(2):  # it stays so until somebody says what is to be done
        with pytest.raises(OutputError, match=r"the unfinished work on `.*mask.tif` is damaged") as caught:
            go_on(out)
        assert caught.value.hint == "begin anew: the same command with `--restart`"
        assert not out.exists()
    assert go_on(out, resume=False) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.qml", "mask.tif", "mask.tif.aux.xml"]


def test_blocks_that_the_journal_does_not_know_are_cut_off(tmp_path):
    with pytest.raises(Stop):
        begun(tmp_path / "a.tif")
    with (folder_of(tmp_path / "a.tif") / "0" / "level0").open("ab") as file:
        file.write(b"half a block" * 99)
    assert go_on(tmp_path / "a.tif") == 512
    assert go_on(tmp_path / "b.tif") == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


# --- killed at any moment

SCRIPT = """
import hashlib, itertools, os, random, signal, sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from rasters import grid_of
from test_unfinished import KEY, LAYER, SURE, pixels_of  # nothing that imports torch, or forks take long
from geosemi.geo.unfinished import unfinished
from geosemi.geo.writer import RasterSet

out, sure = Path(sys.argv[2]) / "mask.tif", Path(sys.argv[2]) / "sure.tif"
FRESH, RESUMED, KILLED = 0, 3, -9
HEIGHT, WIDTH, STEP = 1100, 40, 300
mask, amounts = (pixels_of(layer, HEIGHT, WIDTH) % 4 for layer in (LAYER, SURE))


def work():
    with unfinished(out, KEY) as work, RasterSet({sure: SURE, out: LAYER}, grid_of(HEIGHT, WIDTH), work) as rasters:
        begin = rasters.begin
        for row in range(begin, HEIGHT, STEP):
            rasters.write(row, [amounts[:, row : row + STEP], mask[:, row : row + STEP]])
        rasters.finish({})
    assert rasters.histogram.tolist() == [(mask == v).sum() for v in range(256)]
    return begin


def start(die_at=0):
    # a child that dies at its n-th call that changes the disk, or whenever it is killed; its status tells if it resumed
    child = os.fork()
    if child:
        return child
    calls = itertools.count(1)
    for name in ("fsync", "replace", "unlink", "rmdir", "truncate", "mkdir"):
        def counted(*args, real=getattr(os, name), **kwargs):
            if next(calls) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, counted)
    os._exit(FRESH if work() == 0 else RESUMED)


def state():
    return [hashlib.sha256(p.read_bytes()).hexdigest() if p.exists() else "absent" for p in (sure, out)]


def forget():
    for path in out.parent.iterdir():
        if path.is_file():
            path.unlink()
    assert not list(out.parent.iterdir())


def check(child, what):
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (FRESH, RESUMED, KILLED), (what, status)
    found = state()
    assert all(f in ("absent", c) for f, c in zip(found, complete, strict=True)), (what, found)
    assert found[1] == "absent" or found == complete, (what, "the mask came before the rest")
    return status


begin = time.monotonic()
assert os.waitpid(start(), 0)[1] == FRESH
span = time.monotonic() - begin
complete = state()
assert "absent" not in complete
everything = sorted(p.name for p in out.parent.iterdir())
for die_at in range(1, 200):
    forget()
    killed = check(start(die_at), die_at) == KILLED
    print("step" if killed else "all steps")
    print("resumed" if check(start(), die_at) == RESUMED else "anew")
    assert state() == complete and sorted(p.name for p in out.parent.iterdir()) == everything, die_at
    if not killed:
        break
draw = random.Random(5)
for number in range(8):
    forget()
    status = KILLED
    while status == KILLED:
        child = start()
        time.sleep(draw.uniform(0.1, 0.8) * span)
        os.kill(child, signal.SIGKILL)
        status = check(child, number)
        print("killed" if status == KILLED else "ended")
        span *= 1.1 if status == KILLED else 0.7  # a busy machine is slower at one moment than at the next
    assert state() == complete and sorted(p.name for p in out.parent.iterdir()) == everything, number
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_step_and_at_random_moments_it_goes_on_to_the_same_bytes(tmp_path):
    here = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(tmp_path)],
        capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "PYTHONPATH": here},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = done.stdout.split("\n")
    assert words.count("all steps") == 1
    assert words.count("step") > 20  # every flush, rename and removal was a last one
    assert words.count("resumed") > 10
    assert words.count("killed") > 2


# --- killed after the output got its name


def leave(tmp_path):
    """What a run leaves that is killed while it tidies up."""
    with unfinished(tmp_path / "mask.tif", KEY, keep=True) as work:
        work.record(1)
    return tmp_path / "mask.tif", folder_of(tmp_path / "mask.tif")


def test_an_output_newer_than_the_journal_is_that_works(tmp_path):
    out, folder = leave(tmp_path)
    tidy(out)
    assert folder.is_dir()  # no output yet
    out.write_text("complete")
    os.utime(out, ns=(0, (folder / "journal").stat().st_mtime_ns - 1))
    tidy(out)
    assert folder.is_dir()  # begun after that output
    os.utime(out, ns=(0, (folder / "journal").stat().st_mtime_ns + 1))
    tidy(out)
    assert not folder.exists()
    tidy(out)


def test_a_folder_that_another_run_holds_is_not_tidied(tmp_path):
    out, folder = leave(tmp_path)
    with unfinished(out, KEY):
        out.write_text("complete")
        os.utime(out, ns=(0, 2**62))
        with pytest.raises(OutputError, match="another geosemi is writing"):
            tidy(out)
    assert not folder.exists()
