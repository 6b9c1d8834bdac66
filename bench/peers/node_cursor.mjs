// Reads each entity through a server-side cursor and formats its rows once, as JSON and as CSV, for archiver. Fair
// because rows stay text, and the next batch of 1,000 is read while one is formatted.

import { cursorBatches, exportArchive } from './node_export.mjs'

await exportArchive(cursorBatches)
