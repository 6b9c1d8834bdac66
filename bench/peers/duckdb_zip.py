"""DuckDB reads each entity through its postgres extension and writes JSON and CSV files, which zipfile then packs.

Fair because each row leaves PostgreSQL once, in binary COPY, and DuckDB's own vectorised writers do all the formatting
on as many threads as there are cores.
"""

import glob
import json
import os
import sys
import tempfile
import zipfile

import duckdb
import duckdb_extension_postgres_scanner


SOURCE = "select * from postgres_query('source', ?)"


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def extension():
    folder = os.path.dirname(duckdb_extension_postgres_scanner.__file__)
    return glob.glob(f"{folder}/extensions/v{duckdb.__version__}/postgres_scanner.duckdb_extension")[0]


def export(database, entity, folder):
    """Writes an entity's two files into the folder."""
    columns = [quoted(name) for name in entity["columns"]]
    probe = f"select {', '.join(f'pg_typeof({column})::text as t{i}' for i, column in enumerate(columns))}"
    probe = f"{probe} from ({entity['sql']}) probe limit 1"
    here = [row[1] for row in database.execute(f"describe {SOURCE}", [entity["sql"]]).fetchall()]
    there = database.execute(SOURCE, [probe]).fetchone() or here

    # DuckDB would make NaN of a numeric 0, round a numeric without a scale, and refuse arrays of two dimensions: these
    # cross as text. JSON crosses as text anyway and is inlined; and JSON has no word for a float that is not finite.
    selected, inline, finite = [], [], []
    for column, ours, theirs in zip(columns, here, there):
        lossy = ours.startswith("DECIMAL") or ours.endswith("[]") or (ours == "DOUBLE" and theirs != "double precision")
        selected.append(f"{column}::text as {column}" if lossy else column)
        if theirs in ("json", "jsonb"):
            inline.append(f"{column}::json as {column}")
        elif ours in ("FLOAT", "DOUBLE") and not lossy:
            finite.append(f"if(isfinite({column}), to_json({column}), to_json({column}::text)) as {column}")

    # A table in DuckDB's own file, and not two reads of PostgreSQL, which would cost twice as much.
    statement = f"select {', '.join(selected)} from ({entity['sql']}) whole_row"
    database.execute(f"create table entity as {SOURCE}", [statement])
    replace = f"replace ({', '.join(inline + finite)})" if inline or finite else ""
    as_json = f"copy (select * {replace} from entity) to ? (format json, array true)"
    database.execute(as_json, [f"{folder}/json/{entity['name']}.json"])
    database.execute("copy entity to ? (format csv, header true)", [f"{folder}/csv/{entity['name']}.csv"])
    database.execute("drop table entity")


def main(job_path, archive_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    with (
        tempfile.TemporaryDirectory(prefix="duckdb_zip.") as folder,
        zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED, compresslevel=job["level"]) as archive,
        duckdb.connect(f"{folder}/work.duckdb", config={"memory_limit": "1GB"}) as database,
    ):
        os.mkdir(f"{folder}/json")
        os.mkdir(f"{folder}/csv")
        database.load_extension(extension())
        # One transaction here is one there, which the extension opens as repeatable read.
        database.execute("attach '' as source (type postgres, read_only)")
        database.execute("begin")
        for entity in job["entities"]:
            export(database, entity, folder)
            for path in (f"json/{entity['name']}.json", f"csv/{entity['name']}.csv"):
                archive.write(f"{folder}/{path}", path)
                os.remove(f"{folder}/{path}")
        database.execute("rollback")


if __name__ == "__main__":
    main(*sys.argv[1:])
