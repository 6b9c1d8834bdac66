// Tabs agree, a double click is one export, and what was lost comes back: the network, the service, the session.

import { assert, head, ids, open, order, PORTAL, progress, script, sql, until } from './support.mjs';

await script(async (browser) => {
  const user = await order('person');
  const { page, context, streams, complaints } = await open(browser, user);
  await page.getByText('Your account.').first().waitFor();
  assert.equal(streams.all, 0, 'nothing is pending, so there is no stream');
  const other = await context.newPage();
  await other.goto(PORTAL);
  await other.getByText('Your account.').first().waitFor();

  // The browser draws a tab in the background once a second.
  await page.bringToFront();
  const posts = [];
  page.on('request', (request) => request.method() === 'POST' && posts.push(request.headers()['idempotency-key']));
  await page.getByRole('button', { name: 'Ask for a copy' }).dblclick();
  for (const tab of [page, other]) await head(tab, 'is waiting');
  assert.equal((await ids(user)).length, 1);
  assert.ok(posts.length === 1 && posts[0], posts.join(' '));
  await until('one stream for each tab', () => streams.open === 2);

  // A hidden tab has no stream, and is right again when it is seen.
  const hide = (tab, hidden) => tab.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(other, true);
  await until('the stream of the hidden tab to be closed', () => streams.open === 1);
  const [id] = await ids(user);
  await progress(id, { done: 500, total: 1000 });
  await page.getByText('500 of about 1,000 rows').waitFor();
  await head(other, 'is waiting');
  await hide(other, false);
  await other.getByText('500 of about 1,000 rows').waitFor();
  await until('its stream to be open again', () => streams.open === 2);

  // Offline: what was known stays, and the page says so.
  await context.setOffline(true);
  await page.getByText('You are offline').waitFor();
  assert.ok(await page.getByText('500 of about 1,000 rows').isVisible());
  await context.setOffline(false);
  await page.getByText('You are offline').waitFor({ state: 'hidden' });

  // The service is away, the export ends meanwhile, and the page finds out by itself.
  await order('cut');
  await page.getByText('The service does not answer').waitFor();
  await sql(`update public.data_export_requests set claim_token = null, claim_owner = null, claim_try = null, lease_until = null where id = '${id}' returning id::text`);
  await order('fulfil', { id });
  await order('pass');
  for (const tab of [page, other]) await head(tab, 'is ready');
  await page.getByText('The service does not answer').waitFor({ state: 'hidden' });
  await until('no stream to be left', () => streams.open === 0);

  // No stream can be had: the page asks now and then.
  await page.route('**/events', (route) => route.fulfill({ status: 503, headers: { 'retry-after': '1' }, contentType: 'application/problem+json', body: '{"code":"too_many_streams"}' }));
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'is waiting');
  const [second] = await ids(user);
  await progress(second, { done: 1, total: 1000 });
  await page.getByText('1 of about 1,000 rows').waitFor();
  await page.unroute('**/events');

  // An answer that is lost: the next click asks for the same export.
  await page.getByRole('button', { name: 'Take it back' }).click();
  await page.getByRole('button', { name: 'Take it back' }).last().click();
  await head(page, 'was taken back');
  posts.length = 0;
  const before = (await ids(user)).length;
  let lost = false;
  await page.route('**/v1/exports', async (route) => {
    if (lost || route.request().method() !== 'POST') return route.fallback();
    lost = true;
    await route.fetch();
    await route.abort();
  });
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await page.getByText('The service does not answer').first().waitFor();
  await until('the second answer', async () => {
    const ask = page.getByRole('button', { name: 'Ask for a copy' });
    if (await ask.isVisible()) await ask.click({ timeout: 1000 }).catch(() => {});
    return (await page.getByRole('heading', { name: 'is waiting' }).count()) > 0;
  });
  assert.equal((await ids(user)).length, before + 1);
  assert.ok(posts.every((key) => key === posts[0]), posts.join(' '));

  // Too soon: the page says when.
  await page.getByRole('button', { name: 'Take it back' }).click();
  await page.getByRole('button', { name: 'Take it back' }).last().click();
  await head(page, 'was taken back');
  await sql("update public.data_export_policy set ask_every = interval '1 day' returning start");
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await page.getByRole('alert').filter({ hasText: 'Not yet possible. Ask again' }).waitFor();

  // The session ends: the page says how to get in, and shows nothing any more.
  await sql("update public.data_export_sessions set expires_at = now() - interval '1 second' returning user_id");
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await page.getByText('Open this page from the platform').waitFor();
  for (const name of ['Download', 'Earlier copies', 'was taken back']) assert.equal(await page.getByText(name).filter({ visible: true }).count(), 0, name);
  assert.deepEqual(complaints, []);
});
