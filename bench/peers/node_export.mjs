// What both Node.js peers share: rows as text of PostgreSQL, formatted once as JSON and as CSV, into a zip of archiver.
// JSON goes to its entry at once and CSV waits in a temporary file, since a zip is written one entry after another;
// deflate runs beside it all, on a thread of libuv.

import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { ZipArchive } from 'archiver'
import pg from 'pg'
import Cursor from 'pg-cursor'

// Rows as arrays of strings: parsing dates and numbers only to write them again costs time and digits.
export const AS_TEXT = { rowMode: 'array', types: { getTypeParser: () => (text) => text } }

const BATCH = 1000

const { builtins } = pg.types
const BOOL = builtins.BOOL
const JSON_TYPES = new Set([builtins.JSON, builtins.JSONB])
const { INT2, INT4, INT8, FLOAT4, FLOAT8, NUMERIC } = builtins
const NUMBERS = new Set([INT2, INT4, INT8, FLOAT4, FLOAT8, NUMERIC])
const ARRAYS = new Set([1005, 1007, 1009, 1015, 1016, 2951]) // int2, int4, text, varchar, int8, uuid

function jsonFormatter(oid) {
  if (JSON_TYPES.has(oid)) return (text) => text
  if (NUMBERS.has(oid)) return (text) => (/[Ny]$/.test(text) ? `"${text}"` : text) // NaN, Infinity
  if (oid === BOOL) return (text) => (text === 't' ? 'true' : 'false')
  if (ARRAYS.has(oid)) return (text) => JSON.stringify(pg.types.getTypeParser(oid)(text))
  return JSON.stringify
}

const SPECIAL = /[",\r\n]/

// NULL is empty, the empty string is quoted.
function csvField(text) {
  if (text === null) return ''
  return text === '' || SPECIAL.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

// Formats one batch of rows twice.
function format(rows, prefixes, formatters) {
  let json = ''
  let csv = ''
  for (const row of rows) {
    for (let i = 0; i < row.length; i++) {
      const text = row[i]
      json += prefixes[i]
      json += text === null ? 'null' : formatters[i](text)
      if (i > 0) csv += ','
      csv += csvField(text)
    }
    json += '},\n'
    csv += '\n'
  }
  return { json, csv }
}

// The JSON of an entity as a stream; its CSV goes to `csvFile` on the way.
async function* write(entity, batches, csvFile) {
  const prefixes = entity.columns.map((name, i) => `${i === 0 ? '{' : ','}${JSON.stringify(name)}:`)
  const file = createWriteStream(csvFile)
  file.write(entity.columns.map(csvField).join(',') + '\n')
  let formatters
  let lead = '[\n'
  for await (const { rows, fields } of batches) {
    formatters ??= fields.map((field) => jsonFormatter(field.dataTypeID))
    const { json, csv } = format(rows, prefixes, formatters)
    if (!file.write(csv)) await once(file, 'drain')
    yield Buffer.from(lead + json.slice(0, -2))
    lead = ',\n'
  }
  file.end()
  await finished(file)
  yield Buffer.from(lead === '[\n' ? '[]\n' : '\n]\n')
}

// A whole statement through a server-side cursor; the next batch is on its way while one is formatted.
export async function* cursorBatches(client, entity) {
  const cursor = client.query(new Cursor(entity.sql, null, AS_TEXT))
  const read = () =>
    new Promise((resolve, reject) => {
      cursor.read(BATCH, (error, rows, result) => (error ? reject(error) : resolve({ rows, fields: result?.fields })))
    })
  let batch = await read()
  while (batch.rows.length > 0) {
    const next = read()
    next.catch(() => {}) // it is awaited below
    yield batch
    batch = await next
  }
  await cursor.close()
}

// Exports a job; `batchesOf(client, entity)` yields non-empty batches of rows with their fields.
export async function exportArchive(batchesOf) {
  const [jobFile, archiveFile] = process.argv.slice(2)
  const job = JSON.parse(await readFile(jobFile, 'utf8'))
  const client = new pg.Client() // PGHOST, PGOPTIONS and the others
  const folder = await mkdtemp(join(tmpdir(), 'node_zip.'))
  try {
    await client.connect()
    await client.query('begin isolation level repeatable read read only')
    const archive = new ZipArchive({ zlib: { level: job.level, chunkSize: 1 << 16 } })
    const out = createWriteStream(archiveFile)
    const failed = new Promise((_, reject) => archive.on('error', reject).on('warning', reject))
    const written = finished(archive.pipe(out))
    const append = async (stream, name) => {
      stream.on('error', (error) => archive.emit('error', error))
      const done = once(archive, 'entry')
      archive.append(stream, { name })
      await Promise.race([done, failed])
    }
    for (const entity of job.entities) {
      const csvFile = join(folder, 'csv')
      const json = write(entity, batchesOf(client, entity), csvFile)
      await append(Readable.from(json, { highWaterMark: 2 }), `json/${entity.name}.json`)
      await append(createReadStream(csvFile, { highWaterMark: 1 << 18 }), `csv/${entity.name}.csv`)
    }
    await Promise.race([Promise.all([archive.finalize(), written]), failed])
  } finally {
    await client.end()
    await rm(folder, { recursive: true })
  }
}
