"""Opens the workbook of an export in LibreOffice, which runs beside this program, and compares it with the JSON files.

Each text is also edited: what the input line shows is entered again. It must still be the same text.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException
from com.sun.star.sheet import CellFlags
from com.sun.star.table.CellContentType import TEXT

LIMIT = 32_767

# A text that begins so could become something else when it is entered.
RISKY = "=+-@'\uff1d0123456789"


def cut(text):
    """The text that a cell holds."""
    units = text.encode("utf-16-le")
    if len(units) // 2 <= LIMIT:
        return text
    return units[: 2 * (LIMIT - 3)].decode("utf-16-le", "ignore") + "..."


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
    while True:
        assert program.poll() is None, "LibreOffice ended"
        try:
            context = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            time.sleep(0.1)
            continue
        return program, context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)


def compare(book, manifest, texts):
    cells = edited = 0
    for sheet in manifest["workbook"]["sheets"]:
        found = book.Sheets.getByName(sheet["name"])
        entity = next(entity for entity in manifest["entities"] if entity["name"] == sheet["entity"])
        rows = texts[entity["name"]]
        last = len(entity["columns"]) - 1
        data = found.getCellRangeByPosition(0, 1, last, max(len(rows), 1)).getDataArray()
        # LibreOffice itself has a constant of this type as a formula.
        booleans = [index for index, column in enumerate(entity["columns"]) if column["written_type"] == "boolean"]
        formulas = found.queryContentCells(CellFlags.FORMULA).RangeAddresses
        assert all(range.StartColumn in booleans and range.EndColumn in booleans for range in formulas), sheet["name"]
        for number, (row, line) in enumerate(zip(rows, data)):
            for index, (column, value, cell) in enumerate(zip(entity["columns"], row, line)):
                where = (sheet["name"], number, column["name"], value, cell)
                cells += 1
                is_text = isinstance(value, str) and column["csv"] == "value"
                if value is None or (is_text and value == ""):
                    assert cell == "", where
                elif isinstance(cell, str):
                    if "\t" in str(value):
                        # Among the data of a range, a tab in a text of several lines is another character.
                        cell = found.getCellByPosition(index, number + 1).String
                    if is_text:
                        assert lines(cell) == lines(cut(value)), where
                    if cell[:1] in RISKY:
                        entered = found.getCellByPosition(index, number + 1)
                        entered.FormulaLocal = cell
                        edited += 1
                        assert entered.Type == TEXT and entered.String == cell, (where, "after editing")
                elif is_text:
                    assert column["written_type"].startswith(("date", "timestamp")), where
                else:
                    assert float(value) == cell, where
    return cells, edited


with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(sys.argv[1]) as archive:
        path = archive.extract("export.xlsx", folder)
        manifest = json.loads(archive.read("manifest.json"))
        texts = {
            entity["name"]: [
                list(row.values())
                for row in json.loads(archive.read(f"json/{entity['name']}.json"), parse_int=float)
            ]
            for entity in manifest["entities"]
        }
    program, desktop = connect(folder, f"export{os.getpid()}")
    try:
        book = desktop.loadComponentFromURL(uno.systemPathToFileUrl(path), "_blank", 0, tuple(values({"Hidden": True})))
        assert book is not None, "LibreOffice cannot open the workbook"
        cells, edited = compare(book, manifest, texts)
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
