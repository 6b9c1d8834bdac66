// What the scripts share: the browser, orders to the servers, and what must hold of every page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.env.PAGE_MODULES}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export { assert };
export const PORTAL = process.env.PAGE_PORTAL;
const shots = process.env.PAGE_SHOTS;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let last = Promise.resolve();

/** Orders something of the servers. Orders are served one after the other. */
export const order = (what, rest = {}) => {
  last = last.then(async () => {
    console.log(JSON.stringify({ do: what, ...rest }));
    return JSON.parse((await lines.next()).value);
  });
  return last;
};

export const sql = (text) => order('sql', { text });
/** Changes the row of an export. */
export const edit = (id, change) => sql(`update public.data_export_requests set ${change} where id = '${id}' returning id::text`);
export const signIn = (user, rest = {}) => order('sign in', { body: { user_id: user, ...rest } });

/** Starts the browser for one script, and closes it however the script ends. */
export const script = async (work) => {
  const browser = await chromium.launch({
    executablePath: process.env.PAGE_CHROMIUM,
    downloadsPath: process.cwd(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    await work(browser);
  } finally {
    await browser.close();
  }
  process.exit(0);
};

/** A visitor: a context whose pages report each origin that they call, and each complaint. */
export const visitor = async (browser, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
  const origins = new Set();
  const complaints = [];
  const streams = { open: 0, all: 0 };
  await context.addInitScript(axe);
  context.on('request', (request) => {
    const { protocol, origin, pathname } = new URL(request.url());
    if (protocol !== 'data:') origins.add(origin);
    if (pathname.endsWith('/events')) {
      streams.open++;
      streams.all++;
    }
  });
  const ended = (request) => {
    if (new URL(request.url()).pathname.endsWith('/events')) streams.open--;
  };
  context.on('requestfinished', ended);
  context.on('requestfailed', ended);
  context.on('console', (message) => {
    // An answer that is no success is a line of its own, and is expected where it happens.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return { context, origins, complaints, streams };
};

/** Signs a person in and opens our own page. */
export const open = async (browser, user, { session, path = '', ...options } = {}) => {
  const all = await visitor(browser, options);
  const page = await all.context.newPage();
  const { url } = await signIn(user, session);
  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, '/');
  if (path) await page.goto(`${PORTAL}/${path}`);
  return { ...all, page };
};

/** Waits until a condition holds, which is asked again and again. */
export const until = async (what, is, bound = 20_000) => {
  for (const end = Date.now() + bound; !(await is());) {
    assert.ok(Date.now() < end, `${what}: not within ${bound} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
};

export const head = (page, text) => page.getByRole('heading', { name: text }).first().waitFor();
export const said = (page) => page.getByRole('status').textContent();
/** The exports of a person, the newest first. */
export const ids = (user) => sql(`select id::text from public.data_export_requests where user_id = '${user}' order by requested_at desc`);

/** Reads what axe says of the page, and that nothing is cut off or too small for a finger. */
export const readable = async (page, name) => {
  // From a world of its own: the page's policy allows no script of ours.
  const found = await page.evaluate(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`));
  assert.deepEqual(found, [], name);
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name}: ${wide} px are cut off`);
  const small = await page.evaluate(() => {
    const targets = [...document.querySelector('data-export').shadowRoot.querySelectorAll('button,summary,label,input[type=file]')];
    return targets.filter((target) => target.checkVisibility() && target.getBoundingClientRect().height < 43.9).map((target) => target.outerHTML);
  });
  assert.deepEqual(small, [], `${name}: targets under 44 px`);
};

export const shot = async (page, name) => {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
};

/** Goes on with the keyboard until a control with this name has the focus. */
export const tabTo = async (page, name, key = 'Tab') => {
  for (let step = 0; step < 60; step++) {
    await page.keyboard.press(key);
    const found = await page.evaluate(() => {
      let at = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return (at?.labels?.[0] ?? at)?.textContent;
    });
    if (found?.startsWith(name)) return;
  }
  assert.fail(`the keyboard does not reach ${name}`);
};

/** Claims an export and reports this progress, as a worker does. */
export const progress = (id, { attempt = 1, phase = 'reading', done, total = null }) => sql(`with claimed as (
    update public.data_export_requests set claims = ${attempt}, claim_token = coalesce(claim_token, gen_random_uuid()),
        claim_owner = coalesce(claim_owner, 'test'), claim_try = coalesce(claim_try, 1), lease_until = clock_timestamp() + interval '1 hour'
    where id = '${id}' returning id, claim_token)
  insert into public.data_export_progress (request_id, claim_token, attempt, phase, done, total, entities)
  select id, claim_token, ${attempt}, '${phase}', ${done}, ${total}, '{}' from claimed
  on conflict (request_id) do update set attempt = excluded.attempt, phase = excluded.phase, done = excluded.done, total = excluded.total, at = clock_timestamp()
  returning request_id::text`);
