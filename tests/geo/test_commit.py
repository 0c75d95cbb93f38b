import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from geosemi.errors import OutputError
from geosemi.geo.commit import naming_disk, private_folder, publish, require_writable, write_files

OLD, NEW = b"old" * 1000, b"new" * 2000


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --- before any work


def test_a_free_name_in_a_folder_is_writable(tmp_path: Path):
    require_writable(tmp_path / "mask.tif", overwrite=False, inputs=[tmp_path / "scene.tif"])
    assert names(tmp_path) == []


def test_a_missing_folder_is_told_with_the_command_that_makes_it(tmp_path: Path):
    with pytest.raises(OutputError, match=r"the folder `.*my maps` does not exist") as caught:
        require_writable(tmp_path / "my maps" / "mask.tif", overwrite=True)
    subprocess.run(caught.value.hint.removeprefix("create it: "), shell=True, check=True)
    require_writable(tmp_path / "my maps" / "mask.tif", overwrite=True)
    assert caught.value.exit_code == 4


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path):
    path = tmp_path / "mask.tif"
    path.write_bytes(OLD)
    with pytest.raises(OutputError, match=r"`.*mask\.tif` exists") as caught:
        require_writable(path, overwrite=False)
    assert "--overwrite" in caught.value.hint
    require_writable(path, overwrite=True)
    assert path.read_bytes() == OLD


def test_a_folder_is_no_output(tmp_path: Path):
    with pytest.raises(OutputError, match="is a folder") as caught:
        require_writable(tmp_path, overwrite=True)
    assert caught.value.hint == "name a file in it"


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hardlink", "linked folder"])
def test_an_output_is_never_an_input(tmp_path: Path, how: str):
    scene = tmp_path / "scene.tif"
    scene.write_bytes(OLD)
    (tmp_path / "sub").mkdir()
    out = tmp_path / "out.tif"
    if how == "same":
        out = scene
    elif how == "relative":
        out = tmp_path / "sub" / ".." / "scene.tif"
    elif how == "symlink":
        out.symlink_to(scene)
    elif how == "hardlink":
        out.hardlink_to(scene)
    else:
        (tmp_path / "other").symlink_to(tmp_path, target_is_directory=True)
        out = tmp_path / "other" / "scene.tif"
    with pytest.raises(OutputError, match="is an input") as caught:
        require_writable(out, overwrite=True, inputs=[tmp_path / "not there.tif", scene])
    assert caught.value.hint == "choose another name"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission(tmp_path: Path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="is not writable") as caught:
            require_writable(tmp_path / "mask.tif", overwrite=True)
        assert caught.value.hint == "choose another folder"
    finally:
        tmp_path.chmod(0o755)


# --- writing


def test_files_appear_whole_and_nothing_else_stays(tmp_path: Path):
    side, main = tmp_path / "mask.tif.aux.xml", tmp_path / "mask.tif"
    main.write_bytes(OLD)
    write_files({side: b"side", main: memoryview(NEW)})
    assert (side.read_bytes(), main.read_bytes()) == (b"side", NEW)
    assert names(tmp_path) == ["mask.tif", "mask.tif.aux.xml"]


def test_side_files_come_before_the_main_file_and_all_are_flushed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    real_replace, real_sync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(Path(b).name), real_replace(a, b))[1])
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), real_sync(fd))[1])
    write_files({tmp_path / "b.qml": b"b", tmp_path / "a.xml": b"a", tmp_path / "m.tif": b"m"})
    assert calls == ["sync", "sync", "sync", "b.qml", "a.xml", "m.tif", "sync"]


def test_the_private_folder_is_hidden_beside_the_output_and_goes_away(tmp_path: Path):
    def interrupted() -> None:
        with private_folder(tmp_path / "mask.tif") as folder:
            assert folder.parent == tmp_path
            assert folder.name.startswith(".mask.tif.part-")
            (folder / "sub").mkdir()
            (folder / "sub" / "half").write_bytes(OLD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path):
    with private_folder(tmp_path / "m.tif") as one, private_folder(tmp_path / "m.tif") as two:
        assert one != two


def test_publish_moves_files_that_another_program_wrote(tmp_path: Path):
    out = tmp_path / "x.gpkg"
    with private_folder(out) as folder:
        (folder / "x.gpkg").write_bytes(NEW)
        publish({folder / "x.gpkg": out})
    assert out.read_bytes() == NEW


def failure_of(contents: dict[Path, bytes]) -> OutputError | None:
    try:
        write_files(contents)
    except OutputError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (errno.ENOSPC, "no space left on the disk of", "nothing was lost"),
        (errno.EDQUOT, "no space left on the disk of", "free some space"),
        (errno.EIO, "cannot be written: ", "check the folder and the disk"),
    ],
)
@pytest.mark.parametrize(
    "step", ["os.fsync", "os.replace", "os.open", "pathlib.Path.write_bytes", "pathlib.Path.mkdir"]
)
@pytest.mark.parametrize("before", [None, OLD])
def test_a_failure_at_any_step_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, before: bytes | None, code: int, message: str, hint: str
):
    """The n-th call of every step fails, for every n; no file is ever half, and the main one never comes first."""
    side, main = tmp_path / "mask.qml", tmp_path / "mask.tif"
    module, _, name = step.rpartition(".")
    owner = os if module == "os" else Path
    real = getattr(owner, name)
    for n in itertools.count():
        for path in (side, main):
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)
        calls = itertools.count()

        def failing(*args, calls=calls, n=n, **kwargs):
            if next(calls) == n:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing)
            failure = failure_of({side: NEW, main: NEW})
        if failure is None:
            break
        assert message in failure.message
        assert str(tmp_path) in failure.message
        assert hint in failure.hint
        found = [path.read_bytes() if path.exists() else None for path in (side, main)]
        assert all(content in (before, NEW) for content in found)
        assert found[1] == before or found[0] == NEW
        assert set(names(tmp_path)) <= {"mask.qml", "mask.tif"}
    assert n >= 1  # the step is really taken
    assert (side.read_bytes(), main.read_bytes()) == (NEW, NEW)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    real = os.fsync

    def no_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", no_folders)
    write_files({tmp_path / "m.tif": NEW})
    assert (tmp_path / "m.tif").read_bytes() == NEW


def test_what_works_is_returned_and_only_the_disks_errors_are_renamed(tmp_path: Path):
    assert naming_disk(tmp_path / "m.tif", lambda: 7) == 7
    with pytest.raises(OutputError, match=r"`.*m\.tif` cannot be written: No such file or directory") as caught:
        naming_disk(tmp_path / "m.tif", (tmp_path / "none" / "x").touch)
    assert caught.value.hint == "check the folder and the disk"
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(ZeroDivisionError):
        naming_disk(tmp_path / "m.tif", lambda: 1 // 0)


# --- killed at any moment

SIZE = 3_000_000
WRITERS = {
    "geosemi": "write_files({side: content, main: content})",
    "naive": "main.write_bytes(content)",
}
LOOP = """
import sys
from pathlib import Path
from geosemi.geo.commit import write_files
main, side = Path(sys.argv[1]), Path(sys.argv[1] + ".aux.xml")
for i in range(10**6):
    content = bytes([i % 251]) * {size}
    {write}
    if i == 0:
        print("ready", flush=True)
"""


def kill_writers(folder: Path, writer: str, kills: int) -> list[bool]:
    """Kill a loop of writes `kills` times; tell for each whether every final name held a complete file."""
    draw, complete = random.Random(7), []
    main = folder / "mask.tif"
    for _ in range(kills):
        code = LOOP.format(size=SIZE, write=WRITERS[writer])
        with subprocess.Popen([sys.executable, "-c", code, main], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        final = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
        complete.append(all(len(content) == SIZE and len(set(content)) == 1 for content in final))
        assert main.exists()
    return complete


def test_a_killed_writer_leaves_only_complete_files(tmp_path: Path):
    assert all(kill_writers(tmp_path, "geosemi", 20))


def test_a_killed_naive_writer_leaves_half_files(tmp_path: Path):
    """The control: the kills above do hit writes."""
    assert not all(kill_writers(tmp_path, "naive", 20))


def test_leftovers_of_dead_processes_are_removed_and_live_ones_kept(tmp_path: Path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    target = tmp_path / "mask.tif"
    dead = tmp_path / f".mask.tif.part-{uuid.getnode():x}-{child.pid}-0a"
    live = tmp_path / f".mask.tif.part-{uuid.getnode():x}-{os.getpid()}-0b"
    elsewhere = tmp_path / f".mask.tif.part-{uuid.getnode() ^ 1:x}-{child.pid}-0c"
    for folder in (dead, live, elsewhere):
        folder.mkdir()
    write_files({target: b"done"})
    assert target.read_bytes() == b"done"
    assert (dead.exists(), live.exists(), elsewhere.exists()) == (False, True, True)
