"""Reads every JSON file of an export with DuckDB, which takes nothing that JSON does not allow."""

import json
import os
import sys
import tempfile
import zipfile

import duckdb

rows = 0
with zipfile.ZipFile(sys.argv[1]) as archive, tempfile.TemporaryDirectory() as folder:
    for entity in json.loads(archive.read("manifest.json"))["entities"]:
        path = archive.extract(f"json/{entity['name']}.json", folder)
        read = "select count(*) from read_json_objects(?, format='array', maximum_object_size=1073741824)"
        count = duckdb.execute(read, [path]).fetchone()[0]
        assert count == entity["rows"], (entity["name"], count)
        valid = duckdb.execute("select json_valid(content) from read_text(?)", [path]).fetchone()[0]
        assert valid, entity["name"]
        rows += count
        os.remove(path)
print(f"{rows} rows")
