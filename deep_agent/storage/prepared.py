"""Owns statements of the hot path: Core statements, compiled once, run on the driver.

A hop runs about fifteen statements. Compiled and executed by the library, each costs some ten times what the
database itself needs; here only values are converted. The statements stay Core's, so another database needs
another dialect and driver, and no other text.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import UpdateBase

from deep_agent.errors import NotFound

Row = Any
"""A row of Core or of `Prepared`: columns as attributes."""
Scalar = Any
"""What the driver gives for one column."""


class Prepared:
    """One statement; its parameters are named as in Core, JSON goes in and out as values."""

    def __init__(self, statement: sa.Select[Any] | UpdateBase, *, sets: Sequence[str] | None = None) -> None:
        """Compile.

        Args:
            statement: an insert takes a value for every column; parameters bound to a constant keep it.
            sets: columns an update without `values` writes.
        """
        compiled = statement.compile(dialect=sqlite.dialect(), column_keys=sets)
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        self._sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._constants = dict(compiled.params)
        self._encoded = frozenset(name for name in self._names if isinstance(compiled.binds[name].type, sa.JSON))
        columns = list(statement.selected_columns) if isinstance(statement, sa.Select) else []
        self._columns = tuple(str(column.key) for column in columns)
        self._decoded = tuple(str(column.key) for column in columns if isinstance(column.type, sa.JSON))

    def run(self, connection: sa.Connection, row: Mapping[str, Any]) -> int:
        """Execute once; give the number of rows it changed."""
        return self._cursor(connection, row).rowcount

    def many(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute once a row of parameters; give the number of rows changed in all."""
        if not rows:
            return 0
        return _driver(connection).executemany(self._sql, [self._values(row) for row in rows]).rowcount

    def all(self, connection: sa.Connection, row: Mapping[str, Any]) -> list[Row]:
        """Select; give rows with the columns as attributes."""
        return [self._read(found) for found in self._cursor(connection, row).fetchall()]

    def first(self, connection: sa.Connection, row: Mapping[str, Any]) -> Row | None:
        """Select; give the first row, or None."""
        found = self._cursor(connection, row).fetchone()
        return None if found is None else self._read(found)

    def one(self, connection: sa.Connection, row: Mapping[str, Any]) -> Row:
        """Select a row that must be there.

        Raises:
            NotFound: it is not.
        """
        found = self.first(connection, row)
        if found is None:
            raise NotFound(f"the database has no row for {dict(row)}.")
        return found

    def scalar(self, connection: sa.Connection, row: Mapping[str, Any]) -> Scalar | None:
        """Give the first column of the first row, or None; for statements that return no JSON."""
        found = self._cursor(connection, row).fetchone()
        return None if found is None else found[0]

    def _cursor(self, connection: sa.Connection, row: Mapping[str, Any]) -> sqlite3.Cursor:
        return _driver(connection).execute(self._sql, self._values(row))

    def _values(self, row: Mapping[str, Any]) -> list[Any]:
        constants, encoded = self._constants, self._encoded
        values = [row[name] if name in row else constants[name] for name in self._names]
        if encoded:
            return [
                json.dumps(value) if name in encoded else value for name, value in zip(self._names, values, strict=True)
            ]
        return values

    def _read(self, found: tuple[Scalar, ...]) -> Row:
        row = dict(zip(self._columns, found, strict=True))
        for name in self._decoded:
            row[name] = None if row[name] is None else json.loads(row[name])
        return SimpleNamespace(**row)


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
