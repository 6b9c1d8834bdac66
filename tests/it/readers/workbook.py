"""Compares the workbook of an export with its JSON files, cell by cell, as openpyxl, pandas and calamine read it."""

import datetime
import io
import json
import math
import re
import sys
import warnings
import zipfile
from decimal import Decimal

import openpyxl
import pandas
import python_calamine

warnings.simplefilter("error")
EPOCH = datetime.datetime(1899, 12, 30)
LIMIT = 32_767


def units(text):
    return len(text.encode("utf-16-le")) // 2


def cut(text):
    """The text that a cell holds."""
    if units(text) <= LIMIT:
        return text
    kept = text.encode("utf-16-le")[: 2 * (LIMIT - 3)].decode("utf-16-le", "ignore")
    return kept + "..."


def moment(text):
    """The time that a cell has for a date or timestamp, or None if it is a text there."""
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:\+00:00)?)?", text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    milliseconds = int((match[7] or "").ljust(3, "0")[:3])
    time = datetime.datetime(year, month, day, hour, minute, second, milliseconds * 1000)
    return time if time >= datetime.datetime(1900, 3, 1) else None


def expected(token, value, column):
    """What a cell holds: a text, a number, a boolean, a time, or None."""
    kind = column["written_type"]
    if value is None:
        return None
    if column["csv"] == "json":
        return cut(token)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if kind == "date" or kind.startswith("timestamp"):
            return moment(value) or cut(value)
        return cut(value)
    # A number, as JSON writes it.
    text = value.text
    if kind in ("real", "double precision"):
        number = float(text)
        is_kept = 2.3e-308 <= abs(number) <= 9.99e307 or text in ("0", "0.0")
        return number if is_kept else text
    digits = text.lstrip("-").replace(".", "").lstrip("0")
    places = len(text.partition(".")[2])
    return float(text) if len(digits) <= 15 and places <= 15 else cut(text)


class Number:
    def __init__(self, text):
        self.text = text


def same(found, wanted, reader):
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    if isinstance(wanted, float):
        return isinstance(found, (int, float)) and float(found) == wanted
    if isinstance(wanted, datetime.datetime):
        if isinstance(found, datetime.date) and not isinstance(found, datetime.datetime):
            found = datetime.datetime(found.year, found.month, found.day)
        # The readers compute it from a fraction of a day.
        return isinstance(found, datetime.datetime) and abs(found - wanted) < datetime.timedelta(microseconds=500)
    if wanted in ("", None):
        # None of them keeps an empty text apart from no value.
        return found in ("", None)
    if isinstance(wanted, str) and isinstance(found, str) and reader in ("openpyxl", "pandas"):
        # It leaves the escapes of Excel as they are.
        found = re.sub(r"_x([0-9A-Fa-f]{4})_", lambda match: chr(int(match[1], 16)), found)
    return found == wanted


def tokens(line, columns):
    """Splits a line of our JSON into the tokens of its values."""
    decoder = json.JSONDecoder(parse_int=Number, parse_float=Number)
    at, found = 1, []
    for _ in columns:
        _, at = decoder.raw_decode(line, at)
        at += 1
        start = at
        _, at = decoder.raw_decode(line, at)
        found.append(line[start:at])
        at += 1
    return found


with zipfile.ZipFile(sys.argv[1]) as archive:
    manifest = json.loads(archive.read("manifest.json"))
    workbook = archive.read("export.xlsx")
    assert archive.getinfo("export.xlsx").compress_type == zipfile.ZIP_STORED
    rows = {}
    for entity in manifest["entities"]:
        text = archive.read(f"json/{entity['name']}.json").decode()
        lines = [line.removesuffix(",") for line in text.split("\n")[1:-2]]
        values = json.loads(text, parse_int=Number, parse_float=Number)
        rows[entity["name"]] = [
            [
                expected(token, row[column["name"]], column)
                for token, column in zip(tokens(line, entity["columns"]), entity["columns"])
            ]
            for line, row in zip(lines, values)
        ]

sheets = manifest["workbook"]["sheets"]
names = ["About this file"] + [sheet["name"] for sheet in sheets]
columns = {entity["name"]: entity["columns"] for entity in manifest["entities"]}


def compare(reader, sheet, found, started):
    """Compares the rows that a reader found in a sheet, and its header."""
    described = columns[sheet["entity"]]
    header = [
        column["name"] + (" (UTC)" if column["written_type"] == "timestamp with time zone" else "")
        for column in described
    ]
    assert list(found[0]) == header, (reader, sheet, found[0])
    wanted = rows[sheet["entity"]][started : started + sheet["rows"]]
    # A reader may leave out what is empty at the end.
    padded = [list(row) + [None] * (len(described) - len(row)) for row in found[1:]]
    padded += [[None] * len(described)] * (len(wanted) - len(padded))
    assert len(padded) == len(wanted), (reader, sheet, len(padded))
    for number, (row, cells) in enumerate(zip(padded, wanted)):
        for column, value, cell in zip(described, row, cells):
            assert same(value, cell, reader), (reader, sheet["name"], number, column["name"], value, cell)


cells = formulas = 0
book = openpyxl.load_workbook(io.BytesIO(workbook))
assert book.sheetnames == names, book.sheetnames
calamine = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(workbook))
assert calamine.sheet_names == names
# Texts such as "NA" are none to pandas, unless it is told otherwise.
frames = pandas.read_excel(io.BytesIO(workbook), sheet_name=None, header=None, keep_default_na=False, dtype=object, engine="calamine")
started = {}
for sheet in sheets:
    start = started.get(sheet["entity"], 0)
    started[sheet["entity"]] = start + sheet["rows"]
    table = list(book[sheet["name"]].iter_rows())
    for row in table:
        for cell in row:
            formulas += cell.data_type == "f"
            cells += cell.value is not None
            if isinstance(cell.value, str):
                assert cell.quotePrefix, "a text becomes something else when it is edited"
            assert cell.hyperlink is None
    compare("openpyxl", sheet, [[cell.value for cell in row] for row in table], start)
    compare("calamine", sheet, calamine.get_sheet_by_name(sheet["name"]).to_python(skip_empty_area=False), start)
    frame = frames[sheet["name"]]
    found = [
        [None if isinstance(value, float) and math.isnan(value) else value for value in row]
        for row in frame.itertuples(index=False, name=None)
    ]
    compare("pandas", sheet, found, start)
    # A number shows all its digits.
    for row, wanted in zip(table[1:], rows[sheet["entity"]][start:]):
        for cell, column in zip(row, columns[sheet["entity"]]):
            if isinstance(cell.value, (int, float)) and column["written_type"] == "numeric":
                places = len(cell.number_format.partition(".")[2])
                assert cell.number_format in ("0", "0." + "0" * places), cell.number_format
assert book["About this file"].sheet_state == "visible"
assert formulas == 0, formulas
print(f"{cells} cells and no formula")
