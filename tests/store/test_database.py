"""A database file is replaced with its companions, by one process at a time, and opened in bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from cir_assets.store.database import DamagedDatabase, DatabaseLocked, open_database, replace_database
from cir_assets.store.files import CannotLock, Held

OPENS_AND_CHANGES = """
import duckdb, os, sys
client = duckdb.connect(sys.argv[1])
client.execute("CREATE TABLE mine AS SELECT 1 AS a; UPDATE figures SET value = value + 20")
print("changed", flush=True)
sys.stdin.readline()
"""
REPLACES_AND_WAITS = """
import sys
from pathlib import Path
from cir_assets.store.database import replace_database
with replace_database(Path(sys.argv[1]), keep=True) as connection:
    connection.execute("INSERT INTO figures VALUES (" + sys.argv[2] + ")")
    print("in it", flush=True)
    sys.stdin.readline()
"""


def process(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that said its first line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline()
    return started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "evaluation.duckdb"
    write(made, 65)
    return made


def write(file: Path, value: int) -> None:
    with replace_database(file, keep=False) as connection:
        connection.execute(f"CREATE TABLE figures AS SELECT {value} AS value")


def values(file: Path) -> list[int]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM figures ORDER BY 1").fetchall()]


def test_what_a_killed_client_wrote_is_not_played_into_the_next_file(file: Path) -> None:
    client = process(OPENS_AND_CHANGES, file)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert values(file) == [85], "the log it left is played in by whoever opens the file"
    write(file, 66)
    assert values(file) == [66]
    assert sorted(each.name for each in file.parent.iterdir()) == [f".{file.name}.lock", file.name]


def test_a_file_closed_to_writers_refuses_them_and_is_replaced_all_the_same(file: Path) -> None:
    for value in (1, 2):
        with replace_database(file, keep=False, closed_to_writers=True) as connection:
            connection.execute(f"CREATE TABLE figures AS SELECT {value} AS value")
        assert file.stat().st_mode & 0o777 == 0o444
    assert values(file) == [2]
    if os.geteuid():
        with pytest.raises(duckdb.IOException):
            duckdb.connect(str(file))


def test_two_processes_that_add_to_one_file_do_so_one_after_the_other(file: Path) -> None:
    first = process(REPLACES_AND_WAITS, file, 1)
    second = subprocess.Popen(
        [sys.executable, "-c", REPLACES_AND_WAITS, str(file), "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with (
        pytest.raises(Held, match=f"process {first.pid} on "),
        replace_database(file, keep=True, wait_seconds=0.3),
    ):
        pass
    assert values(file) == [65], "readers see the last whole file"
    first.communicate("\n")
    second.communicate(b"\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert values(file) == [1, 2, 65]


def test_a_killed_process_leaves_the_old_file_and_nothing_that_holds_up_the_next(file: Path) -> None:
    killed = process(REPLACES_AND_WAITS, file, 1)
    killed.kill()
    killed.wait()
    assert values(file) == [65]
    write(file, 66)
    assert values(file) == [66]
    assert sorted(each.name for each in file.parent.iterdir()) == [f".{file.name}.lock", file.name]


def test_what_does_not_fit_in_memory_goes_beside_the_file_not_into_the_working_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "somebody's"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for read_only in (False, True):
        with open_database(file, read_only=read_only) as connection:
            connection.execute("SET memory_limit = '30 MB'; SET threads = 1")
            spilled = "SELECT count(*) FROM (SELECT random() AS r, * FROM range(3_000_000) ORDER BY r)"
            assert connection.execute(spilled).fetchall() == [(3_000_000,)]
            assert list(elsewhere.iterdir()) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == [f".{file.name}.lock", file.name, "somebody's"]


def test_a_file_somebody_holds_is_waited_for_and_the_holder_named(file: Path) -> None:
    holder = process(OPENS_AND_CHANGES, file)
    with (
        pytest.raises(DatabaseLocked, match=f"held by process {holder.pid}"),
        open_database(file, read_only=True, wait_seconds=0.3),
    ):
        pass
    holder.communicate("\n")
    with open_database(file, read_only=True, wait_seconds=5):
        pass


def test_a_share_without_locks_is_told_as_such_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = duckdb.connect

    class WithoutLocks:
        def __init__(self) -> None:
            self._real = real()

        def execute(self, query: str, *rest: object) -> object:
            if query.startswith("ATTACH"):
                raise duckdb.IOException('IO Error: Could not set lock on file "x": No locks available')
            return self._real.execute(query, *rest)

        def close(self) -> None:
            self._real.close()

    monkeypatch.setattr(duckdb, "connect", WithoutLocks)
    with pytest.raises(CannotLock, match="put the storage folder on a local disk"), open_database(file):
        pass


@pytest.mark.parametrize("place", [0, 10, 4096 + 100, -200])
def test_a_damaged_file_is_named_with_a_way_out_or_reads_as_before(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)
    said = None
    try:
        with open_database(file, read_only=True) as connection:
            assert connection.execute("SELECT value FROM figures").fetchall() == [(65,)]
    except DamagedDatabase as error:
        said = str(error)
    assert said is None or (str(file) in said and "materialize the asset that writes it again" in said)
