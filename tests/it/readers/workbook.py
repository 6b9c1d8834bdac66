"""Compares the workbook of an export with its JSON files, cell by cell, as openpyxl, pandas and calamine read it."""

import datetime
import io
import math
import re
import sys
import warnings

import openpyxl
import pandas
import python_calamine

import cells as given

warnings.simplefilter("error")


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
    if isinstance(wanted, str) and isinstance(found, str):
        # openpyxl leaves all escapes of Excel as they are, and calamine, which pandas uses here, two of them.
        escapes = r"_x([0-9A-Fa-f]{4})_" if reader == "openpyxl" else r"_x(FFF[EF])_"
        found = re.sub(escapes, lambda match: chr(int(match[1], 16)), found)
    return found == wanted


manifest, workbook, rows = given.read(sys.argv[1])
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
