"""Compares the Parquet files of an export with its JSON files, value by value, as pyarrow, DuckDB and Polars read them."""

import datetime
import decimal
import io
import json
import math
import os
import re
import struct
import sys
import tempfile
import zipfile

import duckdb
import polars
import pyarrow
import pyarrow.parquet

import cells as given

LONGEST = 8 << 20
UTC = datetime.timezone.utc

# The type of a column by its PostgreSQL type, as each reader names it.
TYPES = {
    "boolean": ("bool", "BOOLEAN", "Boolean"),
    "smallint": ("int16", "SMALLINT", "Int16"),
    "integer": ("int32", "INTEGER", "Int32"),
    "bigint": ("int64", "BIGINT", "Int64"),
    "real": ("float", "FLOAT", "Float32"),
    "double precision": ("double", "DOUBLE", "Float64"),
    "date": ("date32[day]", "DATE", "Date"),
    "time without time zone": ("time64[us]", "TIME", "Time"),
    "timestamp without time zone": ("timestamp[us]", "TIMESTAMP", "Datetime(time_unit='us', time_zone=None)"),
    "timestamp with time zone": (
        "timestamp[us, tz=UTC]",
        "TIMESTAMP WITH TIME ZONE",
        "Datetime(time_unit='us', time_zone='UTC')",
    ),
    "bytea": ("binary", "BLOB", "Binary"),
}
TEXT = ("string", "VARCHAR", "String")


def decimal_type(column):
    match = re.fullmatch(r"numeric\((\d+),(\d+)\)", column["type"])
    if column["written_type"] != "numeric" or match is None:
        return None
    precision, scale = int(match[1]), int(match[2])
    return (precision, scale) if precision <= 38 and scale <= precision else None


def types(column):
    if decimal_type(column):
        precision, scale = decimal_type(column)
        return (
            f"decimal128({precision}, {scale})",
            f"DECIMAL({precision},{scale})",
            f"Decimal(precision={precision}, scale={scale})",
        )
    return TYPES.get(column["written_type"], TEXT)


def expected(token, value, column):
    """What Parquet holds for a value of JSON."""
    kind = column["written_type"]
    if value is None:
        return None
    if kind == "boolean":
        return value
    text = token if column["csv"] == "json" else getattr(value, "text", value)
    if kind in ("smallint", "integer", "bigint"):
        return int(text)
    if kind == "real":
        return struct.unpack("f", struct.pack("f", float(text)))[0]
    if kind == "double precision":
        return float(text)
    if decimal_type(column):
        number = decimal.Decimal(text)
        return number if number.is_finite() else None
    try:
        if kind == "date":
            return datetime.date.fromisoformat(text) if len(text) == 10 else None
        if kind == "time without time zone":
            return datetime.time.fromisoformat(text) if text != "24:00:00" else None
        if kind in ("timestamp with time zone", "timestamp without time zone"):
            return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if kind == "bytea":
        held = bytes.fromhex(text[2:])
        return held if len(held) <= LONGEST else None
    return text if len(text.encode()) <= LONGEST else None


def same(found, wanted):
    if isinstance(wanted, float) and isinstance(found, float):
        # A zero has a sign.
        return math.isnan(found) and math.isnan(wanted) or struct.pack("d", found) == struct.pack("d", wanted)
    return type(found) is type(wanted) and found == wanted


def compare(reader, entity, wanted, found):
    for column, values, rows in zip(entity["columns"], found, wanted):
        assert len(values) == len(rows), (reader, entity["name"], len(values), len(rows))
        for number, (value, row) in enumerate(zip(values, rows)):
            assert same(value, row), (reader, entity["name"], column["name"], number, value, row)


values = 0
with zipfile.ZipFile(sys.argv[1]) as archive, tempfile.TemporaryDirectory() as folder:
    manifest = json.loads(archive.read("manifest.json"))
    database = duckdb.connect()
    database.execute("set timezone = 'UTC'")
    for entity in manifest["entities"]:
        name = f"parquet/{entity['name']}.parquet"
        assert archive.getinfo(name).compress_type == zipfile.ZIP_STORED
        path = archive.extract(name, folder)
        described = entity["columns"]
        text = archive.read(f"json/{entity['name']}.json").decode()
        lines = [line.removesuffix(",") for line in text.split("\n")[1:-2]]
        rows = json.loads(text, parse_int=given.Number, parse_float=given.Number)
        wanted = [[] for _ in described]
        nulls = [0 for _ in described]
        for line, row in zip(lines, rows):
            for index, (token, column) in enumerate(zip(given.tokens(line, described), described)):
                value = row[column["name"]]
                wanted[index].append(expected(token, value, column))
                nulls[index] += value is not None and wanted[index][-1] is None
        assert nulls == [column["nulls_in_parquet"] for column in described], (entity["name"], nulls, described)
        values += sum(len(column) for column in wanted)

        table = pyarrow.parquet.read_table(path)
        assert table.column_names == [column["name"] for column in described], table.column_names
        assert [str(field.type) for field in table.schema] == [types(column)[0] for column in described], table.schema
        compare("pyarrow", entity, wanted, [column.to_pylist() for column in table.columns])
        about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        assert about["data_export.request_id"] == manifest["request_id"], about
        assert [column["name"] for column in json.loads(about["data_export.columns"])] == table.column_names, about
        held = pyarrow.parquet.ParquetFile(path).metadata
        assert held.num_rows == entity["rows"], held
        assert all(held.row_group(group).num_rows <= 131_072 for group in range(held.num_row_groups)), held

        found = database.execute("select * from read_parquet(?)", [path])
        assert [str(column[1]) for column in found.description] == [types(column)[1] for column in described], found.description
        compare("DuckDB", entity, wanted, [column.to_pylist() for column in found.to_arrow_table().columns])

        frame = polars.read_parquet(path)
        assert [str(kind) for kind in frame.dtypes] == [types(column)[2] for column in described], frame.dtypes
        compare("Polars", entity, wanted, [column.to_list() for column in frame.get_columns()])
print(f"{values} values")
