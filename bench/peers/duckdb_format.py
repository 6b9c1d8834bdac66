"""DuckDB reads each entity through its postgres extension, and writes a workbook or a Parquet file of each.

Fair because its own extensions read and write, and each row leaves PostgreSQL once, in binary COPY.
"""

import glob
import json
import os
import sys
import tempfile
import zipfile

import duckdb
import duckdb_extension_excel
import duckdb_extension_postgres_scanner

SOURCE = "select * from postgres_query('source', ?)"

OPTIONS = {
    "xlsx": "format xlsx, header true",
    "parquet": "format parquet, compression zstd, compression_level 1",
}

TEXTS = ("JSON", "BLOB", "INTERVAL")


def extension(module, name):
    folder = os.path.dirname(module.__file__)
    return glob.glob(f"{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension")[0]


def main(file_format, job_path, archive_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    rows = 0
    with (
        tempfile.TemporaryDirectory(prefix="duckdb_format.") as folder,
        zipfile.ZipFile(archive_path, "w", zipfile.ZIP_STORED) as archive,
        duckdb.connect(f"{folder}/work.duckdb", config={"memory_limit": "1GB"}) as database,
    ):
        database.load_extension(extension(duckdb_extension_postgres_scanner, "postgres_scanner"))
        if file_format == "xlsx":
            database.load_extension(extension(duckdb_extension_excel, "excel"))
        database.execute("attach '' as source (type postgres, read_only)")
        database.execute("begin")
        for entity in job["entities"]:
            path = f"{folder}/{entity['name']}.{file_format}"
            # Lists cross as texts, as it has none of two dimensions; so do JSON and the others that are texts in a cell.
            found = database.execute(f"describe {SOURCE}", [entity["sql"]]).fetchall()
            columns = ", ".join(
                f'"{name}"::text as "{name}"' if kind.endswith("[]") or kind in TEXTS else f'"{name}"'
                for name, kind, *_ in found
            )
            statement = f"select {columns} from ({entity['sql']}) whole_row"
            database.execute(f"create table entity as {SOURCE}", [statement])
            rows += database.execute("select count(*) from entity").fetchone()[0]
            database.execute(f"copy entity to '{path}' ({OPTIONS[file_format]})")
            database.execute("drop table entity")
            archive.write(path, os.path.basename(path))
            os.remove(path)
        database.execute("rollback")
    print(json.dumps({"count": 1, "rows": rows, "bytes": os.path.getsize(archive_path)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
