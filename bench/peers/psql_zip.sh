#!/bin/sh
# psql copies each entity to a JSON and a CSV file in a temporary folder, and `zip` packs them: what someone at a shell
# would do. Fair because the server makes both formats in one snapshot, and psql and zip are C and only move bytes.
set -eu

folder=$(mktemp -d "${TMPDIR:-/tmp}/psql_zip.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cp -- "$1" "$folder/job.json"
: >"$2"
archive=$(CDPATH='' cd -- "$(dirname -- "$2")" && pwd)/${2##*/}
cd "$folder"
mkdir json csv

# psql's \copy is bound to one line; COPY with \g is the same and is not. The header of a JSON file is the bracket that
# opens its array, and each row brings its comma; CSV does not double the backslashes of JSON, as text format would.
psql -XAtq -v ON_ERROR_STOP=1 -f - <<'EOF'
\set job `cat job.json`
\pset fieldsep '\n'
\o copies.sql
select 'begin isolation level repeatable read read only;';
select format('copy (select row_to_json(whole_row)::text || '','' as "[" from (%s) whole_row) to stdout', entity->>'sql'),
    format($$(format csv, header, delimiter e'\x01', quote e'\x02') \g json/%s.json$$, entity->>'name'),
    format('copy (%s) to stdout (format csv, header) \g csv/%s.csv', entity->>'sql', entity->>'name')
from json_array_elements(:'job'::json->'entities') entity;
\o files.txt
select format('json/%s.json', entity->>'name'), format('csv/%s.csv', entity->>'name')
from json_array_elements(:'job'::json->'entities') entity;
\o level.txt
select :'job'::json->>'level';
EOF

psql -Xq -v ON_ERROR_STOP=1 -f copies.sql

quote=$(printf '\002')
for file in json/*; do
    # A row with line feeds between its tokens (type json keeps them) was quoted, which is seldom.
    if LC_ALL=C grep -q "$quote" "$file"; then
        tr -d '\002' <"$file" >rows.json
        mv rows.json "$file"
    fi
    # Takes the last row's comma and line feed; without rows there is only the bracket's line.
    [ "$(head -n 2 "$file" | wc -l)" -lt 2 ] || truncate -s -2 "$file"
    printf '\n]\n' >>"$file"
done

zip -q "-$(cat level.txt)" -@ - <files.txt >"$archive"
