"""Reads every JSON file of an export with DuckDB, which takes nothing that JSON does not allow, every CSV file with
frictionless, by the types that datapackage.json states, and the manifest by its documented schema."""

import json
import pathlib
import sys
import tempfile
import zipfile

import duckdb
import frictionless
import jsonschema

# A numeric may have more digits than Python reads of its own accord.
sys.set_int_max_str_digits(0)

rows = 0
with zipfile.ZipFile(sys.argv[1]) as archive, tempfile.TemporaryDirectory() as folder:
    archive.extractall(folder)
    manifest = json.loads(archive.read("manifest.json"))
    schema = json.loads((pathlib.Path(__file__).parents[3] / "docs/manifest.schema.json").read_text())
    schema = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    schema.validate(manifest)
    assert not schema.is_valid({**manifest, "odd": 1}), "a control"
    for entity in manifest["entities"]:
        path = f"{folder}/json/{entity['name']}.json"
        read = "select count(*) from read_json_objects(?, format='array', maximum_object_size=1073741824)"
        count = duckdb.execute(read, [path]).fetchone()[0]
        assert count == entity["rows"], (entity["name"], count)
        valid = duckdb.execute("select json_valid(content) from read_text(?)", [path]).fetchone()[0]
        assert valid, entity["name"]
        rows += count
    report = frictionless.validate(f"{folder}/datapackage.json")
    assert report.valid, report.flatten(["name", "rowNumber", "fieldName", "type", "note"])[:5]
    assert sum(task.stats.get("rows", 0) for task in report.tasks) == rows
print(f"{rows} rows")
