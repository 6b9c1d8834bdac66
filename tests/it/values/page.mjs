// Opens the page of an archive from disk in a real browser, and prints what it finds as one JSON object.
//
//   node page.mjs INDEX_HTML ZIP
//
// PAGE_MODULES and PAGE_CHROMIUM name Playwright and the browser. PAGE_SHOTS is a folder for pictures.
// PAGE_FACTS is JSON: {"searches": [{"set", "text", "column", "how", "value"}], "save": ["users"]}. Without "save", every
// data set is saved. Saved files and the PDF go to the working directory.

import { copyFileSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.PAGE_MODULES}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const [index, zip] = process.argv.slice(2).map((path) => resolve(path));
const facts = JSON.parse(process.env.PAGE_FACTS ?? 'null') ?? {};
const shots = process.env.PAGE_SHOTS;
const LONGEST = 150_000; // in milliseconds, for one pass over a data set

const VIEWS = {
  light: { viewport: { width: 1000, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1000, height: 800 }, colorScheme: 'dark' },
  narrow: { viewport: { width: 320, height: 640 }, colorScheme: 'light' },
  'narrow-dark': { viewport: { width: 320, height: 640 }, colorScheme: 'dark' },
  // Half the width is what a browser shows at 200 %.
  large: { viewport: { width: 500, height: 400 }, colorScheme: 'light' },
};

const found = { requests: [], dialogs: [], complaints: [], views: {}, without_script: {}, print: {}, rows: {}, saved: {}, searches: [], stopped: {}, problems: {} };

const browser = await chromium.launch({
  executablePath: process.env.PAGE_CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** Opens a page from disk. Notes each request but the page itself, each dialog and each complaint. */
const open = async (path = index, { before, ...options } = {}) => {
  const context = await browser.newContext({ viewport: VIEWS.light.viewport, acceptDownloads: true, ...options });
  if (options.javaScriptEnabled !== false) await context.addInitScript(axe);
  if (before) await context.addInitScript(before);
  const url = pathToFileURL(path).href;
  context.on('request', (request) => {
    if (request.url() !== url) found.requests.push(request.url());
  });
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) found.complaints.push(message.text());
  });
  context.on('weberror', (error) => found.complaints.push(String(error.error())));
  const page = await context.newPage();
  page.setDefaultTimeout(LONGEST);
  page.on('dialog', (dialog) => {
    found.dialogs.push(dialog.message());
    dialog.dismiss();
  });
  await page.goto(url);
  return page;
};

const shot = async (page, name) => {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
};

/** Reads what axe says of the page in every view, how many pixels are cut off, and which controls are too small. */
const look = async (page, name) => {
  for (const [view, { viewport, colorScheme }] of Object.entries(VIEWS)) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    found.views[`${name} ${view}`] = await page.evaluate(async () => ({
      axe: (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`),
      cut_off: Math.max(0, document.scrollingElement.scrollWidth - innerWidth),
      small: [...document.querySelectorAll('button,select,input')]
        .filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < 43.9)
        .map((control) => control.outerHTML),
    }));
    await shot(page, `${name}-${view}`);
  }
  await page.setViewportSize(VIEWS.light.viewport);
  await page.emulateMedia({ colorScheme: 'light' });
};

/** Waits until the job that runs is over, and returns what the page says. */
const settled = async (page) => {
  await page.waitForFunction(() => document.querySelector('#bar').hidden, null, { polling: 20, timeout: LONGEST });
  const problem = page.locator('#problem');
  return (await problem.isVisible()) ? problem.textContent() : page.locator('#status').textContent();
};
const choose = async (page, path = zip) => {
  // The browser does not report that the same file is chosen again.
  await page.setInputFiles('#zip', []);
  await page.setInputFiles('#zip', path);
  return settled(page);
};
const setsOf = (page) => page.locator('#set option').allTextContents();
const clear = async (page) => {
  for (const id of ['text', 'value']) await page.fill(`#${id}`, '');
  await page.selectOption('#column', '');
  await page.selectOption('#how', 'has');
};
const cells = (row) => row.locator('td').allTextContents();

/** Does something while it measures how long it takes and the largest heap. */
const measured = async (page, work) => {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  let [peak, isOver] = [0, false];
  const watch = (async () => {
    while (!isOver) {
      const { metrics } = await session.send('Performance.getMetrics');
      peak = Math.max(peak, metrics.find(({ name }) => name === 'JSHeapUsedSize').value);
      await new Promise((done) => setTimeout(done, 50));
    }
  })();
  const start = performance.now();
  const said = await work();
  const seconds = (performance.now() - start) / 1000;
  isOver = true;
  await watch;
  return { said, seconds: Number(seconds.toFixed(2)), peak_heap_mib: Number((peak / 2 ** 20).toFixed(1)) };
};

/** Without script, everything but the search is there. */
const withoutScript = async () => {
  const page = await open(index, { javaScriptEnabled: false });
  found.without_script = {
    lead: await page.locator('.lead').textContent(),
    headings: await page.locator('h1,h2,h3').allTextContents(),
    search_is_hidden: !(await page.locator('#search').isVisible()),
    links: await page.locator('a[href]').evaluateAll((links) => links.map((link) => link.getAttribute('href'))).catch(() => null),
  };
  await page.context().close();
};

const print = async (page) => {
  const pages = async (name) => {
    const pdf = await page.pdf({ path: `${name}.pdf`, preferCSSPageSize: true });
    return { file: resolve(`${name}.pdf`), pages: pdf.toString('latin1').match(/\/Type\s*\/Page\b/g).length };
  };
  found.print.closed = await pages('closed');
  await page.click('#open-all');
  await page.emulateMedia({ media: 'print' });
  // A4 without its margins, in CSS pixels.
  await page.setViewportSize({ width: 680, height: 1000 });
  found.print.cut_off = await page.evaluate(() => [...document.querySelectorAll('body, .scroll, table')].filter((box) => box.scrollWidth > Math.max(box.clientWidth, 680) + 1).map((box) => box.className || box.tagName));
  found.print.open = await pages('open');
  await page.emulateMedia({ media: null });
  await page.setViewportSize(VIEWS.light.viewport);
  await page.click('#close-all');
};

const searchAll = async (page) => {
  const save = facts.save ?? (await setsOf(page));
  for (const set of save) {
    await clear(page);
    await page.selectOption('#set', { label: set });
    const said = await settled(page);
    const first = await page.locator('#rows tbody tr').all();
    found.rows[set] = { said, header: await page.locator('#rows thead th').allTextContents(), first: first.length ? await cells(first[0]) : null };
    const download = page.waitForEvent('download');
    const { seconds, peak_heap_mib } = await measured(page, async () => {
      await page.click('#save');
      return settled(page);
    });
    const file = resolve((await download).suggestedFilename());
    await (await download).saveAs(file);
    found.saved[set] = { file, said: await settled(page), seconds, peak_heap_mib };
  }
  for (const search of facts.searches ?? []) {
    await clear(page);
    await page.selectOption('#set', { label: search.set });
    await settled(page);
    await page.fill('#text', search.text ?? '');
    if (search.column) await page.selectOption('#column', { label: search.column });
    if (search.how) await page.selectOption('#how', search.how);
    await page.fill('#value', search.value ?? '');
    const result = await measured(page, async () => {
      await page.keyboard.press('Enter');
      return settled(page);
    });
    const rows = page.locator('#rows tbody tr');
    const entry = { ...search, ...result, shown: await rows.count() };
    if (entry.shown) entry.first = await cells(rows.first());
    if ((await page.getAttribute('#last', 'aria-disabled')) === 'false') {
      entry.next = await measured(page, async () => {
        await page.click('#next');
        return settled(page);
      });
      entry.last = await measured(page, async () => {
        await page.click('#last');
        return settled(page);
      });
      entry.last.row = await cells(rows.last());
    }
    found.searches.push(entry);
  }
};

/** Stops a search as soon as it reports progress. In a small data set it may be over before. */
const stop = async (page) => {
  await clear(page);
  await page.selectOption('#set', { label: facts.searches?.[0]?.set ?? (await setsOf(page))[0] });
  await page.evaluate(async () => {
    const bar = document.querySelector('#bar');
    while (!bar.hidden && !bar.hasAttribute('value')) await new Promise((done) => setTimeout(done));
    document.querySelector('#stop').click();
  });
  found.stopped = { said: await settled(page), focus: await page.evaluate(() => document.activeElement.id) };
  await page.click('#save');
  // By force: the button is off again if the data set is small and already saved.
  await page.click('#stop', { force: true });
  found.stopped.saving = await settled(page);
};

const problems = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'archive-page-'));
  const page = await open();
  found.problems.not_a_zip = await choose(page, index);
  const cut = join(folder, 'cut.zip');
  copyFileSync(zip, cut);
  truncateSync(cut, Math.floor(readFileSync(zip).length / 2));
  found.problems.cut = await choose(page, cut);
  const damaged = join(folder, 'damaged.zip');
  const bytes = readFileSync(zip);
  // Damages the first bytes of the data of the first data set.
  const at = bytes.indexOf(Buffer.from('json/'));
  bytes.fill(0xff, at + 60, at + 90);
  writeFileSync(damaged, bytes);
  found.problems.damaged = await choose(page, damaged);
  found.problems.then_good = await choose(page);
  await page.evaluate(() => document.documentElement.setAttribute('data-request', 'another'));
  found.problems.other_request = await choose(page);
  await page.context().close();
  const old = await open(index, { before: 'delete globalThis.DecompressionStream' });
  found.problems.old_browser = await choose(old);
  await old.context().close();
};

try {
  await withoutScript();
  const page = await open();
  await look(page, 'closed');
  await print(page);
  await page.click('#open-all');
  await look(page, 'open');
  await page.click('#close-all');
  found.chosen = await measured(page, () => choose(page));
  await look(page, 'chosen');
  await searchAll(page);
  await stop(page);
  await problems();
  // A control: the policy refuses what a value that became markup could try.
  const complaints = found.complaints.splice(0);
  found.policy = await page.evaluate(async () => {
    const script = Object.assign(document.createElement('script'), { textContent: 'globalThis.hasRun = true' });
    document.body.append(script);
    const image = Object.assign(new Image(), { src: 'data:image/gif;base64,R0lGODlhAQABAAAAACw=' });
    const hasLoaded = await new Promise((done) => Object.assign(image, { onload: () => done(true), onerror: () => done(false) }));
    const hasFetched = await fetch('data:,x').then(() => true, () => false);
    return { has_run: globalThis.hasRun === true, has_loaded: hasLoaded, has_fetched: hasFetched };
  });
  found.policy.refused = found.complaints.splice(0, Infinity, ...complaints).length;
  // A control: axe sees a button without a name.
  found.control = await page.evaluate(async () => {
    document.querySelector('main').append(document.createElement('button'));
    return (await globalThis.axe.run()).violations.map(({ id }) => id);
  });
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
