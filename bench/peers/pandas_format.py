"""psycopg reads each entity, and pandas writes it: a sheet with XlsxWriter, the faster of its two writers of workbooks, or
a Parquet file with pyarrow.

Fair because it is what the documentation of pandas shows. Rows are in memory, as data frames are.
"""

import datetime
import json
import os
import sys
import tempfile
import zipfile

import pandas
import psycopg
import psycopg.types.string
from psycopg.adapt import Loader


class Moment(Loader):
    """A day or time without a zone, or `other` if Python has no such day."""

    other = staticmethod(str)

    def load(self, data):
        text = bytes(data).decode()
        try:
            return datetime.datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            return self.other(text)


def plain(value):
    """A value as pandas can write it into a workbook."""
    if isinstance(value, (str, bool, int, float, type(None))):
        # A workbook has no other characters, and no longer cells.
        return "".join(c for c in value[:32767] if c >= " " or c in "\t\n") if isinstance(value, str) else value
    return value if isinstance(value, datetime.datetime) else str(value)[:32767]


def typed(value):
    """A value as pandas can write it into a Parquet file."""
    if isinstance(value, (bytes, datetime.datetime, str, bool, int, float, type(None))):
        return value
    return str(value)


def tables(job, cursor, written):
    """Each entity as a data frame."""
    for entity in job["entities"]:
        cursor.execute(entity["sql"])
        names = [column.name for column in cursor.description]
        rows = [tuple(written(value) for value in row) for row in cursor]
        yield entity["name"], pandas.DataFrame(rows, columns=names, dtype=object)


def write_xlsx(frames, path):
    rows = 0
    options = {"options": {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}}
    with open(path, "wb") as book, pandas.ExcelWriter(book, engine="xlsxwriter", engine_kwargs=options) as writer:
        for name, frame in frames:
            rows += len(frame)
            frame.to_excel(writer, sheet_name=name[:31], index=False)
    return rows


def write_parquet(frames, path):
    rows = 0
    with tempfile.TemporaryDirectory(prefix="pandas_format.") as folder, zipfile.ZipFile(path, "w") as archive:
        for name, frame in frames:
            rows += len(frame)
            file = f"{folder}/{name}.parquet"
            frame.to_parquet(file, engine="pyarrow", compression="zstd", compression_level=1, index=False)
            archive.write(file, os.path.basename(file))
            os.remove(file)
    return rows


def main(file_format, job_path, out_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    with psycopg.connect("") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if file_format == "parquet":
            # A column has one type.
            Moment.other = staticmethod(lambda text: None)
        for name in ("date", "timestamp", "timestamptz"):
            connection.adapters.register_loader(name, Moment)
        for name in ("time", "interval"):
            connection.adapters.register_loader(name, psycopg.types.string.TextLoader)
        if file_format == "xlsx":
            rows = write_xlsx(tables(job, connection.cursor(), plain), out_path)
        else:
            rows = write_parquet(tables(job, connection.cursor(), typed), out_path)
    print(json.dumps({"count": 1, "rows": rows, "bytes": os.path.getsize(out_path)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
