"""psycopg reads each entity, and pandas writes a sheet of it with XlsxWriter, the faster of its two writers.

Fair because it is what the documentation of pandas shows. Rows are in memory, as data frames are.
"""

import datetime
import json
import os
import sys

import pandas
import psycopg
import psycopg.types.string
from psycopg.adapt import Loader


class Moment(Loader):
    """A day or time without a zone, or its text if Python has no such day."""

    def load(self, data):
        text = bytes(data).decode()
        try:
            return datetime.datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            return text


def plain(value):
    """A value as pandas can write it."""
    if isinstance(value, (str, bool, int, float, type(None))):
        # A workbook has no other characters, and no longer cells.
        return "".join(c for c in value[:32767] if c >= " " or c in "\t\n") if isinstance(value, str) else value
    return value if isinstance(value, datetime.datetime) else str(value)[:32767]


def main(job_path, book_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    rows = 0
    with psycopg.connect("") as connection, open(book_path, "wb") as book:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for name in ("date", "timestamp", "timestamptz"):
            connection.adapters.register_loader(name, Moment)
        for name in ("time", "interval"):
            connection.adapters.register_loader(name, psycopg.types.string.TextLoader)
        cursor = connection.cursor()
        options = {"options": {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}}
        with pandas.ExcelWriter(book, engine="xlsxwriter", engine_kwargs=options) as writer:
            for entity in job["entities"]:
                cursor.execute(entity["sql"])
                names = [column.name for column in cursor.description]
                read = [tuple(plain(value) for value in row) for row in cursor]
                rows += len(read)
                frame = pandas.DataFrame(read, columns=names, dtype=object)
                frame.to_excel(writer, sheet_name=entity["name"][:31], index=False)
    print(json.dumps({"count": 1, "rows": rows, "bytes": os.path.getsize(book_path)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
