"""Opens the workbook of an export in LibreOffice, which runs beside this program, and compares it with the JSON files.

Each text is also edited: what the input line shows is entered again. It must still be the same text.
"""

import datetime
import os
import re
import subprocess
import sys
import tempfile
import time

import cells as given
import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException
from com.sun.star.sheet import CellFlags
from com.sun.star.table.CellContentType import TEXT

EPOCH = datetime.datetime(1899, 12, 30)

# A text that begins so could become something else when it is entered.
RISKY = "=+-@'\uff1d0123456789"


def lines(text):
    """Its own cells end a line in one way only."""
    return re.sub("\r\n|\n\r|\r", "\n", text)


def values(properties):
    for name, value in properties.items():
        property = PropertyValue()
        property.Name, property.Value = name, value
        yield property


def connect(folder, pipe):
    """Starts LibreOffice with a profile of its own, and connects to it."""
    profile = "-env:UserInstallation=" + uno.systemPathToFileUrl(os.path.join(folder, "profile"))
    program = subprocess.Popen(
        ["soffice", profile, "--headless", "--norestore", "--nologo", f"--accept=pipe,name={pipe};urp;"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    deadline = time.monotonic() + 60
    while True:
        try:
            context = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            assert time.monotonic() < deadline, "LibreOffice did not start within a minute"
            try:
                program.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError("LibreOffice ended before it could be used") from None
        return program, context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)


def compare(book, manifest, rows):
    cells = edited = 0
    started = {}
    for sheet in manifest["workbook"]["sheets"]:
        found = book.Sheets.getByName(sheet["name"])
        entity = next(entity for entity in manifest["entities"] if entity["name"] == sheet["entity"])
        start = started.get(sheet["entity"], 0)
        started[sheet["entity"]] = start + sheet["rows"]
        wanted = rows[entity["name"]][start : start + sheet["rows"]]
        data = found.getCellRangeByPosition(0, 1, len(entity["columns"]) - 1, max(len(wanted), 1)).getDataArray()
        # LibreOffice itself has a constant of this type as a formula.
        booleans = [index for index, column in enumerate(entity["columns"]) if column["written_type"] == "boolean"]
        formulas = found.queryContentCells(CellFlags.FORMULA).RangeAddresses
        assert all(range.StartColumn in booleans and range.EndColumn in booleans for range in formulas), sheet["name"]
        for number, (row, line) in enumerate(zip(wanted, data)):
            for index, (value, cell) in enumerate(zip(row, line)):
                where = (sheet["name"], number, index, value, cell)
                cells += 1
                if value in (None, ""):
                    assert cell == "", where
                elif isinstance(value, str):
                    assert isinstance(cell, str), where
                    if "\t" in value:
                        # Among the data of a range, a tab in a text of several lines is another character.
                        cell = found.getCellByPosition(index, number + 1).String
                    assert lines(cell) == lines(value), where
                    if cell[:1] in RISKY:
                        entered = found.getCellByPosition(index, number + 1)
                        entered.FormulaLocal = cell
                        edited += 1
                        assert entered.Type == TEXT and entered.String == cell, (where, "after editing")
                elif isinstance(value, datetime.datetime):
                    days = (value - EPOCH) / datetime.timedelta(days=1)
                    assert isinstance(cell, float) and abs(cell - days) * 86_400 < 0.000_5, where
                else:
                    assert isinstance(cell, float) and cell == float(value), where
    return cells, edited


with tempfile.TemporaryDirectory() as folder:
    manifest, workbook, rows = given.read(sys.argv[1])
    path = os.path.join(folder, "export.xlsx")
    with open(path, "wb") as file:
        file.write(workbook)
    program, desktop = connect(folder, f"export{os.getpid()}")
    try:
        book = desktop.loadComponentFromURL(uno.systemPathToFileUrl(path), "_blank", 0, tuple(values({"Hidden": True})))
        assert book is not None, "LibreOffice cannot open the workbook"
        cells, edited = compare(book, manifest, rows)
        if len(sys.argv) > 2:
            path = uno.systemPathToFileUrl(os.path.abspath(sys.argv[2]))
            book.storeToURL(path, tuple(values({"FilterName": "calc_pdf_Export"})))
        book.close(True)
        print(f"{cells} cells, of which {edited} were edited")
    finally:
        try:
            desktop.terminate()
        finally:
            program.wait(60)
