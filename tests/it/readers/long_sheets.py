"""Counts the rows of a workbook whose first column is 1, 2, 3 and so on, over all its sheets, as calamine reads it."""

import io
import sys
import zipfile

import python_calamine

with zipfile.ZipFile(sys.argv[1]) as archive:
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(archive.read("export.xlsx")))
wanted = 0
for name in book.sheet_names[1:]:
    rows = book.get_sheet_by_name(name).to_python()
    assert rows[0] == ["id"], rows[0]
    for row in rows[1:]:
        wanted += 1
        assert row == [wanted], (name, row, wanted)
print(f"{wanted} rows in {len(book.sheet_names) - 1} sheets, the last in row {len(rows)} of `{name}`")
