// A page of another origin shows the element under a strict policy of its own, with a token that ends.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { assert, head, ids, order, PORTAL, script, shot, signIn, sql, until, visitor } from './support.mjs';

const HOST = `http://127.0.0.1:${process.env.PAGE_HOST_PORT}`;
const POLICY = `default-src 'none'; script-src 'self' ${PORTAL}; connect-src 'self' ${PORTAL}; style-src 'self'; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
const FILES = {
  '/': ['text/html', (token) => `<!doctype html><html lang="de"><title>Konto</title><meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/host.css"><link rel="icon" href="data:,"><main><h1>Konto</h1><data-export token="${token}"></data-export></main><script type="module" src="${PORTAL}/data-export.js"></script><script type="module" src="/host.js"></script></html>`],
  // As docs/EMBEDDING.md has it: without a token, and the listener comes last.
  '/plain': ['text/html', () => `<!doctype html><html lang="fr"><title>Compte</title><link rel="icon" href="data:,"><data-export lang="de"></data-export><script type="module" src="${PORTAL}/data-export.js"></script><script type="module" src="/host.js"></script></html>`],
  '/host.css': ['text/css', () => 'body{background:#14213d;color:#fdf6e3;font:1rem Georgia,serif;--data-export-accent:#fca311;--data-export-on-accent:#14213d}data-export::part(title){font-variant:small-caps}'],
  '/host.js': ['text/javascript', () => "addEventListener('data-export-token', async ({ target }) => { target.token = await (await fetch('/token')).text(); });"],
};

await script(async (browser) => {
  const user = await order('person');
  let tokens = 0;
  const token = async () => {
    tokens++;
    return (await signIn(user)).token;
  };
  const server = createServer(async (request, response) => {
    if (request.url === '/token') return response.end(await token());
    const [type, text] = FILES[request.url];
    response.writeHead(200, { 'content-type': type, 'content-security-policy': POLICY }).end(text(request.url === '/' && (await token())));
  });
  await new Promise((listening) => server.listen(process.env.PAGE_HOST_PORT, '127.0.0.1', listening));
  const { context, origins, complaints } = await visitor(browser);
  const page = await context.newPage();
  await page.goto(HOST);

  await page.getByRole('button', { name: 'Kopie anfordern' }).click();
  await head(page, 'Ihre Kopie wartet');
  // The host's colours, font and brand reach into the element.
  const look = await page.evaluate(() => {
    const root = document.querySelector('data-export').shadowRoot;
    const style = (selector) => getComputedStyle(root.querySelector(selector));
    return [style('article').color, style('article').fontFamily, style('button').fontFamily, style('[part=title]').fontVariant, getComputedStyle(document.querySelector('data-export')).colorScheme];
  });
  assert.deepEqual(look, ['rgb(253, 246, 227)', 'Georgia, serif', 'Georgia, serif', 'small-caps', 'normal']);
  assert.equal(await page.getByRole('button', { name: 'Abmelden' }).count(), 0, 'the session is the host\'s');

  // The token ends while the element waits. The host brings a new one, and nothing is lost.
  const before = tokens;
  await sql("update public.data_export_sessions set expires_at = now() + interval '1 second' returning user_id");
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await until('a new token', () => tokens > before);
  const [id] = await ids(user);
  await order('fulfil', { id });
  await head(page, 'Ihre Kopie ist fertig');
  await shot(page, 'embedded');

  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Herunterladen' }).click();
  const saved = createHash('sha256').update(readFileSync(await (await saving).path())).digest('hex');
  assert.deepEqual(await sql(`select archive_sha256 from public.data_export_requests where id = '${id}'`), [saved]);

  // Taken out of the page and put back, it begins again.
  await page.evaluate(() => {
    const element = document.querySelector('data-export');
    element.remove();
    document.querySelector('main').append(element);
  });
  await head(page, 'Ihre Kopie ist fertig');
  // A fragment belongs to the host, and means nothing to the element.
  await page.evaluate((id) => { location.hash = `not-me=${id}`; }, id);
  await page.evaluate(() => dispatchEvent(new Event('online')));
  assert.equal(await page.getByText('Waren Sie das nicht?').filter({ visible: true }).count(), 0);
  assert.deepEqual(complaints, []);
  const store = [...origins].filter((origin) => ![HOST, PORTAL].includes(origin));
  assert.equal(store.length, 1, 'only the click on the download leaves the two origins');

  await page.goto(`${HOST}/plain`);
  await head(page, 'Ihre Kopie ist fertig');

  // A host that brings no token: the element shows that the person is not signed in.
  await page.evaluate(() => addEventListener('data-export-token', (event) => event.stopImmediatePropagation(), { capture: true }));
  await sql('delete from public.data_export_sessions returning user_id');
  await page.clock.install();
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await until('the wait for a token to end', async () => {
    await page.clock.fastForward(11_000);
    return page.getByText('Sie sind nicht angemeldet').isVisible();
  });
  server.close();
});
