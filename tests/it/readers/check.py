"""Opens an export as Python's own libraries do and compares its two formats cell by cell."""

import csv
import io
import json
import sys
import unicodedata
import zipfile

csv.field_size_limit(1 << 30)
cells = 0


def unmarked(cell):
    """Gives the text of a cell back, as README.txt says it."""
    text, at_start = "", True
    for character in cell:
        removed = at_start and character == "'"
        if character in ";\t\r\n":
            at_start = True
        elif not (character.isspace() or unicodedata.category(character) == "Cc"):
            at_start = False
        text += "" if removed else character
    return text


with zipfile.ZipFile(sys.argv[1]) as archive:
    damaged = archive.testzip()
    assert damaged is None, damaged
    manifest = json.loads(archive.read("manifest.json"))
    assert archive.namelist() == [file["name"] for file in manifest["files"]] + ["manifest.json"]
    for entity in manifest["entities"]:
        name = entity["name"]
        text = archive.read(f"json/{name}.json").decode("utf-8")
        # Numbers stay as they are written.
        rows = json.loads(text, parse_int=str, parse_float=str)
        # It reads half a character, but cannot write it.
        json.dumps(rows, ensure_ascii=False).encode()
        table = list(csv.reader(io.StringIO(archive.read(f"csv/{name}.csv").decode("utf-8-sig"), newline="")))
        names = [column["name"] for column in entity["columns"]]
        assert table[0] == names, (name, table[0])
        assert len(rows) == len(table) - 1 == entity["rows"], name
        for row, line in zip(rows, table[1:]):
            assert list(row) == names and len(line) == len(names), (name, line)
            for column, cell in zip(entity["columns"], line):
                value = row[column["name"]]
                if value is None:
                    assert cell == "", (column, cell)
                elif column["csv"] == "json":
                    assert json.loads(cell, parse_int=str, parse_float=str) == value, (column, cell)
                elif isinstance(value, bool):
                    assert cell == str(value).lower(), (column, cell)
                else:
                    # A number is not marked, whatever it begins with.
                    assert unmarked(cell) == value or cell == value, (column, cell)
                    assert not cell.startswith(("=", "@")), (column, cell)
                cells += 1
print(f"{cells} cells")
