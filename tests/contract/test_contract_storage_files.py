"""The database file, its migrations, blobs and the home's lock."""

import errno
import os
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from deep_agent.errors import Conflict, HarnessFailed, InvalidInput, NotFound, ResourceExhausted
from deep_agent.queues.home_lock import FileHomeLock
from deep_agent.storage import blobs as blobs_module
from deep_agent.storage.blobs import FileBlobs
from deep_agent.storage.database import connect
from deep_agent.storage.migrate import HEAD, SCRIPTS, migrate
from deep_agent.storage.tables import Row


def test_migrations_lead_to_the_tables_the_classes_describe(tmp_path):
    database = connect(tmp_path / "x.db")
    migrate(database)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD
    database.close()


def test_threads_that_open_a_new_home_together_migrate_it_once(tmp_path):
    failures = []

    def start(path):
        try:
            database = connect(path)
            migrate(database)
            database.close()
        except (Conflict, sa.exc.SQLAlchemyError, ResourceExhausted) as error:
            failures.append(error)

    # One home of two threads fails one time in ten where they do not wait for each other.
    for home in range(20):
        threads = [threading.Thread(target=start, args=[tmp_path / f"{home}.db"]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_database_of_a_later_version_is_refused(tmp_path):
    database = connect(tmp_path / "x.db")
    migrate(database)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="9999"):
        migrate(database)
    database.close()


def test_the_file_is_written_ahead_and_through(tmp_path):
    database = connect(tmp_path / "x.db")
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    database.close()


def test_a_transaction_that_raises_leaves_nothing_and_the_database_usable(tmp_path):
    database = connect(tmp_path / "x.db")
    migrate(database)

    def fail_half_way():
        with database.writing() as connection:
            connection.execute(sa.text("INSERT INTO worker VALUES ('w', 1.0)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM worker")).scalar() == 0
    database.close()


def test_a_full_disk_is_named_and_half_a_commit_is_not_kept(tmp_path):
    database = connect(tmp_path / "x.db")
    migrate(database)
    with database.writing() as connection:
        n_pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={n_pages}")

    def fill():
        with database.writing() as connection:
            connection.execute(sa.text("INSERT INTO worker VALUES ('w', 1.0)"))
            connection.execute(sa.text("INSERT INTO worker VALUES (:o, 1.0)"), {"o": "x" * 5_000_000})

    with pytest.raises(ResourceExhausted, match="disk is full"):
        fill()
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM worker")).scalar() == 0
    database.close()


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceExhausted, match="file"):
        connect(tmp_path / "file" / "x.db")


def test_a_blob_is_known_by_its_hash_and_stored_once(tmp_path):
    blobs = FileBlobs(tmp_path)
    digest = blobs.put(b"kernel")
    assert blobs.put(b"kernel") == digest
    assert blobs.get(digest) == b"kernel"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    with pytest.raises(NotFound):
        blobs.get("0" * 64)
    with pytest.raises(InvalidInput):
        blobs.get("../../etc/passwd")


def test_a_damaged_blob_is_not_handed_out(tmp_path):
    blobs = FileBlobs(tmp_path)
    digest = blobs.put(b"kernel")
    (tmp_path / digest[:2] / digest).write_bytes(b"kernal")
    with pytest.raises(HarnessFailed, match="damaged"):
        blobs.get(digest)


def test_a_full_disk_leaves_no_part_of_a_blob(tmp_path, monkeypatch):
    def full(path, content):
        path.write_bytes(content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blobs_module, "_write_through", full)
    with pytest.raises(ResourceExhausted, match="full"):
        FileBlobs(tmp_path).put(b"kernel")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_one_lock_a_home_and_it_ends_with_its_process(tmp_path):
    lock, other = FileHomeLock(tmp_path), FileHomeLock(tmp_path)
    assert lock.acquire()
    assert lock.acquire()
    assert not other.acquire()
    lock.release()
    lock.release()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys,time,pathlib;from deep_agent.queues.home_lock import FileHomeLock\n"
            "lock=FileHomeLock(pathlib.Path(sys.argv[1]));print(lock.acquire(),flush=True);time.sleep(60)",
            os.fspath(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "True\n"
    assert not other.acquire()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert other.acquire()
    other.release()
