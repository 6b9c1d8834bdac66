// Reads each entity in keyset pages of 500, key by key, and formats its rows exactly as node_cursor.mjs does. Fair
// because a page is a prepared statement that an index on key and order serves from where the last one ended.

import { AS_TEXT, cursorBatches, exportArchive } from './node_export.mjs'

const PAGE = 500

async function* pages(client, entity) {
  const { relation, by, by_type: type, keys, order, select } = entity.pages
  const column = (name) => `t."${name.replaceAll('"', '""')}"`
  const columns = order.map(column).join(', ')
  const statement = (after) =>
    `select ${select} from ${relation} t
      where ${column(by)} = $1::${type} ${after} order by ${columns} limit ${PAGE}`
  const first = { ...AS_TEXT, name: `${entity.name}, first`, text: statement('') }
  const places = order.map((_, i) => `$${i + 2}`).join(', ')
  const next = { ...AS_TEXT, name: `${entity.name}, next`, text: statement(`and (${columns}) > (${places})`) }
  const positions = order.map((name) => entity.columns.indexOf(name))
  for (const key of keys) {
    let result = await client.query({ ...first, values: [key] })
    while (result.rows.length > 0) {
      const full = result.rows.length === PAGE
      const last = result.rows.at(-1)
      // As with the cursor, the next page is on its way while this one is formatted.
      const following = full && client.query({ ...next, values: [key, ...positions.map((i) => last[i])] })
      if (following) following.catch(() => {}) // it is awaited below
      yield result
      if (!full) break
      result = await following
    }
  }
}

await exportArchive((client, entity) => (entity.pages ? pages : cursorBatches)(client, entity))
