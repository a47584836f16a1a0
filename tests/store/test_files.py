"""What is written is there whole or not at all, and what the dead left beside it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cir_assets.store.files import (
    Held,
    clear_unfinished,
    hold,
    write_folder_whole,
    write_one_of_many,
    write_whole,
)

WRITES_AND_WAITS = """
import sys
from pathlib import Path
from cir_assets.store.files import write_whole
with write_whole(Path(sys.argv[1])) as beside:
    beside.write_text("of " + sys.argv[2])
    print("writing", flush=True)
    sys.stdin.readline()
"""

Writer = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """Starts a process that writes ``a.json`` and waits for a line before it ends."""

    def start(name: str, *before: str) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-c", WRITES_AND_WAITS, str(tmp_path / "a.json"), name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    return start


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_what_a_killed_process_left_goes_when_that_file_is_next_written_and_a_living_ones_stays(
    tmp_path: Path, writer: Writer
) -> None:
    killed, living = writer("the killed"), writer("the living")
    killed.kill()
    killed.wait()
    assert len(names(tmp_path)) == 2
    with write_whole(tmp_path / "b.json") as beside:
        beside.write_text("another file")
    assert len(names(tmp_path)) == 3
    with write_whole(tmp_path / "a.json") as beside:
        beside.write_text("whole")
        assert not (tmp_path / "a.json").exists()
    assert (tmp_path / "a.json").read_text() == "whole"
    assert len(names(tmp_path)) == 3, "the living one's is left in peace"
    living.communicate("\n")
    assert living.returncode == 0
    assert (tmp_path / "a.json").read_text() == "of the living"
    assert names(tmp_path) == {"a.json", "b.json"}


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_two_containers_in_which_every_process_is_number_one_write_the_same_file(
    tmp_path: Path, writer: Writer
) -> None:
    apart = ("unshare", "--pid", "--fork", "--mount-proc")
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make process namespaces")
    first, second = writer("the first", *apart), writer("the second", *apart)
    second.communicate("\n")
    assert (tmp_path / "a.json").read_text() == "of the second"
    first.communicate("\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "a.json").read_text() == "of the first"
    assert names(tmp_path) == {"a.json"}


def test_threads_of_one_process_do_not_take_each_others_file(tmp_path: Path) -> None:
    everybody_writes = threading.Barrier(4)

    def write(text: str) -> None:
        with write_whole(tmp_path / "a.json") as beside:
            beside.write_text(text)
            everybody_writes.wait(timeout=10)

    threads = [threading.Thread(target=write, args=(f"whole {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.json").read_text().startswith("whole")
    assert names(tmp_path) == {"a.json"}


def test_a_body_that_raises_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")

    def interrupted() -> None:
        with write_whole(tmp_path / "a.json") as beside:
            beside.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert names(tmp_path) == {"a.json"}
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(content: str, *, fails: bool = False) -> None:
        with write_folder_whole(tmp_path / "version") as beside:
            (beside / content).write_text(content)
            if fails:
                raise ZeroDivisionError

    fill("first")
    with pytest.raises(ZeroDivisionError):
        fill("half", fails=True)
    assert names(tmp_path / "version") == {"first"}
    fill("second")
    assert names(tmp_path / "version") == {"second"}
    assert names(tmp_path) == {"version"}


def test_where_nothing_can_be_locked_the_dead_ones_work_lies_for_a_day(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = writer("the killed")
    killed.kill()
    killed.wait()

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("cir_assets.store.files.fcntl.flock", no_locks)
    clear_unfinished(tmp_path)
    [left] = tmp_path.iterdir()
    yesterday = time.time() - 90_000
    os.utime(left, (yesterday, yesterday))
    with write_whole(tmp_path / "a.json") as beside:
        beside.write_text("whole all the same")
    assert names(tmp_path) == {"a.json"}


def test_who_replaces_a_file_is_alone_and_named_to_those_who_wait(tmp_path: Path) -> None:
    def alone(seconds: float) -> AbstractContextManager[None]:
        return hold(tmp_path / "a.duckdb", seconds)

    with (
        alone(1),
        pytest.raises(Held, match=rf"a\.duckdb is being written by process {os.getpid()} on"),
        alone(0.2),
    ):
        pass
    with alone(0.2):
        pass


def test_one_of_many_files_takes_its_name_whole_or_not_at_all(tmp_path: Path) -> None:
    with write_one_of_many(tmp_path / "in" / "a.png") as beside:
        beside.write_bytes(b"first")
        assert names(tmp_path / "in").isdisjoint({"a.png"})

    def fail_in_the_middle() -> None:
        with write_one_of_many(tmp_path / "in" / "a.png") as beside:
            beside.write_bytes(b"half of the sec")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fail_in_the_middle()
    assert names(tmp_path / "in") == {"a.png"}
    assert (tmp_path / "in" / "a.png").read_bytes() == b"first"
