// Shows, searches and saves the rows of the zip that the reader chooses. It reads the zip piece by piece on the
// reader's own device, sends nothing, and keeps only the rows of the page that is shown.
'use strict';
(() => {
  const PAGE_ROWS = 50;
  const SHOWN_CHARACTERS = 2_000;
  const LONGEST_ROW = 32 * 2 ** 20; // in characters; a longer row could fill the memory
  const LARGEST_LIST = 256 * 2 ** 20; // in bytes: the list of files, and manifest.json
  const CSV_PIECE = 2 ** 20; // in characters; the browser may keep finished pieces on disk

  class Problem extends Error {}
  const CUT = 'This zip is not complete. Please download it again.';
  const DAMAGED = 'This zip is damaged. Please download it again.';

  const $ = (id) => document.getElementById(id);
  const make = (name, text = '') => Object.assign(document.createElement(name), { textContent: text });
  const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
  const fold = (text) => text.toUpperCase(); // unlike lower case, it does not depend on neighbouring letters
  const on = (id, event, work) => $(id).addEventListener(event, work);

  // ---- The zip

  async function read(file, from, to) {
    if (to > file.size || from > to) throw new Problem(CUT);
    if (to - from > LARGEST_LIST) throw new Problem('This zip has too many files for this page.');
    return new DataView(await file.slice(from, to).arrayBuffer());
  }
  const u64 = (view, at) => Number(view.getBigUint64(at, true));

  /** Reads the list at the end of the zip. Returns a map from name to place. */
  async function entriesOf(file) {
    const start = await read(file, 0, Math.min(4, file.size));
    if (start.byteLength < 4 || start.getUint16(0, true) !== 0x4b50) throw new Problem('This file is not a zip. Please choose the zip that you downloaded.');
    const tail = await read(file, Math.max(0, file.size - 65_577), file.size);
    let end = tail.byteLength - 22;
    while (end >= 0 && !(tail.getUint32(end, true) === 0x06054b50 && end + 22 + tail.getUint16(end + 20, true) === tail.byteLength)) end--;
    if (end < 0) throw new Problem(CUT);
    let [length, offset] = [tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
    if (end >= 20 && tail.getUint32(end - 20, true) === 0x07064b50) {
      const at = u64(tail, end - 12);
      const large = await read(file, at, at + 56);
      if (large.getUint32(0, true) !== 0x06064b50) throw new Problem(DAMAGED);
      [length, offset] = [u64(large, 40), u64(large, 48)];
    }
    const list = await read(file, offset, offset + length);
    const entries = new Map();
    for (let at = 0; at < length;) {
      if (list.getUint32(at, true) !== 0x02014b50) throw new Problem(DAMAGED);
      const [nameLength, extraLength] = [list.getUint16(at + 28, true), list.getUint16(at + 30, true)];
      const name = new TextDecoder().decode(new Uint8Array(list.buffer, at + 46, nameLength));
      const entry = { name, method: list.getUint16(at + 10, true), packed: list.getUint32(at + 20, true), size: list.getUint32(at + 24, true), offset: list.getUint32(at + 42, true) };
      const extraEnd = at + 46 + nameLength + extraLength;
      for (let extra = at + 46 + nameLength; extra + 4 <= extraEnd; extra += 4 + list.getUint16(extra + 2, true)) {
        if (list.getUint16(extra, true) !== 1) continue;
        let value = extra + 4;
        for (const field of ['size', 'packed', 'offset']) {
          if (entry[field] !== 0xffffffff) continue;
          entry[field] = u64(list, value);
          value += 8;
        }
      }
      if (name === 'manifest.json' || /^json\/[^/]+\.json$/.test(name)) entries.set(name, entry);
      at = extraEnd + list.getUint16(at + 32, true);
    }
    return entries;
  }

  /** Yields the unpacked bytes of an entry, piece by piece. */
  async function* piecesOf(file, entry, signal) {
    const head = await read(file, entry.offset, entry.offset + 30);
    const start = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
    if (head.getUint32(0, true) !== 0x04034b50 || ![0, 8].includes(entry.method)) throw new Problem(DAMAGED);
    if (start + entry.packed > file.size) throw new Problem(CUT);
    const packed = file.slice(start, start + entry.packed).stream();
    const reader = (entry.method === 8 ? packed.pipeThrough(new DecompressionStream('deflate-raw')) : packed).getReader();
    let size = 0;
    let rested = performance.now();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        signal.throwIfAborted();
        if (done) break;
        size += value.length;
        yield value;
        // A page that is seen must answer while a large data set is read.
        if (document.hidden || performance.now() - rested < 40) continue;
        progress(size / entry.size);
        await new Promise((rest) => setTimeout(rest));
        rested = performance.now();
      }
    } finally {
      reader.cancel().catch(() => {});
    }
    if (size !== entry.size) throw new Problem(DAMAGED);
  }

  /** Yields the rows of an entry, many at a time. A row that is too long is null. */
  async function* rowsOf(file, entry, signal) {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let [pending, length, last] = [[], 0, ''];
    for await (const bytes of piecesOf(file, entry, signal)) {
      const text = decoder.decode(bytes, { stream: true });
      const end = text.lastIndexOf('\n');
      if (end >= 0) {
        pending.push(text.slice(0, end));
        const lines = pending.join('').split('\n');
        last = lines.at(-1);
        if (length > LONGEST_ROW) lines[0] = null;
        yield lines.filter((line) => line === null || line.startsWith('{'));
        [pending, length] = [[], 0];
      }
      const rest = end < 0 ? text : text.slice(end + 1);
      length += rest.length;
      if (length > LONGEST_ROW) pending = [];
      else pending.push(rest);
    }
    if (!last?.endsWith(']')) throw new Problem(DAMAGED);
  }

  // ---- A row

  function endOfString(row, at) {
    for (;;) {
      at = row.indexOf('"', at + 1);
      if (at < 0) throw new Problem(DAMAGED);
      let slashes = 0;
      while (row[at - 1 - slashes] === '\\') slashes++;
      if (slashes % 2 === 0) return at + 1;
    }
  }

  /** Splits a row into names and values, each as it is written. JSON.parse of the whole row would round long numbers. */
  function split(row) {
    const [names, values] = [[], []];
    for (let at = 1; row[at] === '"';) {
      const colon = endOfString(row, at);
      names.push(row.slice(at, colon));
      let end = colon + 1;
      for (let depth = 0; ;) {
        const next = row[end];
        if (next === undefined) throw new Problem(DAMAGED);
        if (depth === 0 && (next === ',' || next === '}')) break;
        if (next === '[' || next === '{') depth++;
        if (next === ']' || next === '}') depth--;
        end = next === '"' ? endOfString(row, end) : end + 1;
      }
      values.push(row.slice(colon + 1, end));
      at = end + 1;
    }
    return { names, values };
  }

  /** Returns the text of a value, or null. A string inside a column of JSON keeps its quotes. */
  const textOf = (value, isJson) => (value === 'null' ? null : value[0] === '"' && !isJson ? JSON.parse(value) : value);

  function cellOf(value, isJson) {
    const cell = make('td');
    cell.dir = 'auto';
    const text = textOf(value, isJson);
    if (!text) {
      const mark = cell.appendChild(make('span'));
      mark.className = 'null';
      mark.append(make('span', text === null ? '–' : '“”'), make('span', text === null ? 'no value' : 'empty text'));
      mark.firstChild.setAttribute('aria-hidden', 'true');
      mark.lastChild.className = 'unseen';
    } else if (text.length <= SHOWN_CHARACTERS) {
      cell.textContent = text;
    } else {
      cell.textContent = text.slice(0, SHOWN_CHARACTERS).replace(/[\ud800-\udbff]$/, '');
      cell.append(make('span', `… (cut here: ${count(text.length, 'character')} in all)`));
      cell.lastChild.className = 'cut';
    }
    return cell;
  }

  // ---- CSV, byte for byte as in the folder csv

  const quoted = (text) => (text === '' || /[;\t\r\n",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  /** Puts a ' before what a spreadsheet could take for a formula, after each place where it may begin a cell. */
  const marked = (text) => text.replace(/[^\p{White_Space}\p{Cc};][^;\t\r\n]*/gu, (cell) => ("=+-@＝＋－＠'".includes(cell[0]) ? `'${cell}` : cell));
  const fieldOf = (value, isJson) => {
    if (value === 'null') return '';
    const isToken = isJson || value[0] === '[' || value[0] === '{';
    return quoted(isToken ? value.replaceAll(';', '\\u003b') : value[0] === '"' ? marked(JSON.parse(value)) : value);
  };

  // ---- The page

  let file, entries, manifest, view, current;

  function progress(share) {
    $('bar').value = share;
    const quarter = Math.floor(share * 4);
    if (quarter > current.quarter && quarter < 4) $('status').textContent = `${quarter * 25} % is read.`;
    current.quarter = Math.max(quarter, current.quarter);
  }
  const enable = (id, is) => $(id).setAttribute('aria-disabled', String(!is));
  const isOff = (id) => $(id).getAttribute('aria-disabled') === 'true';

  /** Runs one job. A new job stops the one before. */
  async function run(job) {
    current?.stop.abort();
    const mine = (current = { stop: new AbortController(), quarter: 0 });
    $('problem').hidden = true;
    enable('stop', true);
    $('bar').removeAttribute('value');
    $('bar').hidden = false;
    try {
      await job(mine.stop.signal);
    } catch (error) {
      if (mine !== current) return;
      if (error.name === 'AbortError') $('status').textContent = `Stopped. ${job === save ? 'Nothing was saved.' : summary()}`;
      else {
        const sentence = error instanceof Problem ? error.message : error.name === 'NotReadableError' || error.name === 'NotFoundError'
          ? 'The browser can no longer read the file. Please choose it again.' : DAMAGED;
        [$('problem').textContent, $('problem').hidden, $('status').textContent] = [sentence, false, ''];
      }
    }
    if (mine !== current) return;
    enable('stop', false);
    $('bar').hidden = true;
    buttons();
  }

  async function choose(signal) {
    [$('query').hidden, $('found').hidden, $('status').textContent, view] = [true, true, '', null];
    try {
      new DecompressionStream('deflate-raw');
    } catch {
      throw new Problem('This browser is too old to read a zip. Please use a newer browser, or unpack the zip and open the files in the folder “csv”.');
    }
    entries = await entriesOf(file);
    const entry = entries.get('manifest.json');
    if (!entry) throw new Problem('This zip is not a copy of your data. Please choose the zip that this page came in.');
    if (entry.size > LARGEST_LIST) throw new Problem('This zip has too many files for this page.');
    let [text, decoder] = ['', new TextDecoder()];
    for await (const bytes of piecesOf(file, entry, signal)) text += decoder.decode(bytes, { stream: true });
    manifest = JSON.parse(text);
    const wanted = document.documentElement.dataset.request;
    if (manifest.request_id !== wanted) throw new Problem(`This zip belongs to another request: ${manifest.request_id}. This page belongs to ${wanted}.`);
    entries.delete('manifest.json');
    $('set').replaceChildren(...[...entries.keys()].map((name) => new Option(name.slice(5, -5), name)));
    $('query').hidden = false;
    columns();
    await search(signal);
  }

  /** Returns what the manifest says of the columns of the chosen data set. */
  function known() {
    const name = $('set').value.slice(5, -5);
    return manifest.entities.find((entity) => entity.name === name)?.columns ?? [];
  }
  const columns = () => $('column').replaceChildren(new Option('(any)', ''), ...known().map(({ name }, index) => new Option(name, String(index))));

  /** Makes a function that says whether a row is wanted. */
  function filter(isJson) {
    const [text, column, how, value] = [fold($('text').value), $('column').value, $('how').value, fold($('value').value)];
    const isFree = column === '' || (how === 'has' && value === '');
    return (row) => {
      // Without a backslash, each value is written as it is, so most rows need not be split.
      if (text && !row.includes('\\') && !fold(row).includes(text)) return false;
      if (!text && isFree) return true;
      const { values } = split(row);
      const folded = (index) => { const text = textOf(values[index], isJson[index]); return text && fold(text); };
      if (text && !values.some((_, index) => folded(index)?.includes(text))) return false;
      if (isFree) return true;
      const found = folded(Number(column));
      return how === 'null' ? found === null : found !== null && (how === 'is' ? found === value : found.includes(value));
    };
  }

  async function search(signal) {
    const isJson = known().map(({ csv }) => csv === 'json');
    const names = known().map(({ name }) => name);
    // `starts` has the number of the row that each page begins with. No row is kept.
    view = { entry: entries.get($('set').value), names, isJson, isWanted: filter(isJson), starts: [], tested: 0, hits: 0, long: 0, isDone: false, page: 0, shown: 0 };
    if (!view.entry) throw new Problem('There is no data in this zip.');
    await show(0, signal);
  }

  /** Shows a page, then goes on to count the rows if they are not yet counted. */
  async function show(page, signal) {
    const mine = view;
    let [row, rows, isShown] = [0, [], false];
    const finish = () => {
      isShown = true;
      [mine.page, mine.shown] = [page, rows.length];
      draw(rows);
    };
    for await (const batch of rowsOf(file, mine.entry, signal)) {
      for (const text of batch) {
        const at = row++;
        const isNew = at >= mine.tested;
        if (isNew) mine.tested = row;
        if (text === null) mine.long += Number(isNew);
        if (text === null || !(isNew || (!isShown && at >= mine.starts[page])) || !mine.isWanted(text)) continue;
        if (isNew && mine.hits++ % PAGE_ROWS === 0) mine.starts.push(at);
        if (!isShown && at >= mine.starts[page] && rows.push(lineOf(text, mine)) === PAGE_ROWS) finish();
      }
      if (isShown && mine.isDone) break;
      if (isShown) buttons();
    }
    mine.isDone = true;
    if (!isShown) finish();
    $('status').textContent = summary();
  }

  function summary() {
    if (!view) return '';
    const { hits, tested, long, isDone, page, shown } = view;
    const from = page * PAGE_ROWS;
    const place = shown ? ` Shown: ${(from + 1).toLocaleString('en')} to ${(from + shown).toLocaleString('en')}.` : '';
    const skipped = long ? ` Too long for this page: ${count(long, 'row')}. Please see the files.` : '';
    return `${count(hits, 'row')} found in ${isDone ? '' : 'the first '}${count(tested, 'row')}.${place}${skipped}`;
  }

  function lineOf(row, mine) {
    const { names, values } = split(row);
    if (!mine.names.length) mine.names = names.map((name) => JSON.parse(name));
    const line = make('tr');
    line.append(...values.map((value, index) => cellOf(value, mine.isJson[index])));
    return line;
  }

  function draw(lines) {
    const [top, middle] = [make('thead'), make('tbody')];
    top.append(make('tr'));
    top.firstChild.append(...view.names.map((name) => Object.assign(make('th', name), { scope: 'col' })));
    middle.append(...lines);
    $('rows').replaceChildren(make('caption', `${$('set').value.slice(5, -5)}: found rows, page ${(view.page + 1).toLocaleString('en')}`), top, middle);
    $('found').hidden = false;
    buttons();
  }

  function buttons() {
    const last = (view?.starts.length ?? 0) - 1;
    for (const id of ['first', 'previous']) enable(id, view?.page > 0);
    enable('next', view?.page < last);
    enable('last', view?.isDone && view.page < last);
  }

  async function save(signal) {
    const { entry, names, isJson, isWanted } = view;
    let [hits, long, parts, text] = [0, 0, [], `\ufeff${names.map(quoted).join(',')}\r\n`];
    for await (const batch of rowsOf(file, entry, signal)) {
      for (const row of batch) {
        if (row === null) long++;
        if (row === null || !isWanted(row)) continue;
        const { values } = split(row);
        text += `${values.map((value, index) => fieldOf(value, isJson[index])).join(',')}\r\n`;
        hits++;
        if (text.length < CSV_PIECE) continue;
        parts.push(new Blob([text]));
        text = '';
      }
    }
    const link = make('a');
    link.href = URL.createObjectURL(new Blob([...parts, text], { type: 'text/csv' }));
    link.download = `${entry.name.slice(5, -5)}-found.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    $('status').textContent = `${count(hits, 'row')} saved.${long ? ` Too long for this page and not saved: ${count(long, 'row')}. Please see the files.` : ''}`;
  }

  for (const part of document.querySelectorAll('.scripted')) part.hidden = false;
  // A browser does not report that the same file is chosen again, unless the field is empty.
  on('zip', 'click', () => ($('zip').value = ''));
  on('zip', 'change', () => {
    file = $('zip').files[0] ?? file;
    if ($('zip').files.length) run(choose);
  });
  on('set', 'change', () => {
    columns();
    run(search);
  });
  on('query', 'submit', (event) => {
    event.preventDefault();
    run(search);
  });
  on('save', 'click', () => view && run(save));
  on('stop', 'click', () => current?.stop.abort());
  const pages = { first: () => 0, previous: () => view.page - 1, next: () => view.page + 1, last: () => view.starts.length - 1 };
  for (const [id, page] of Object.entries(pages)) on(id, 'click', () => isOff(id) || run((signal) => show(page(), signal)));
  for (const [id, isOpen] of [['open-all', true], ['close-all', false]]) {
    on(id, 'click', () => {
      for (const part of document.querySelectorAll('details')) part.open = isOpen;
    });
  }
})();
