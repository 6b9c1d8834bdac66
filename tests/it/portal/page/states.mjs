// Every state: axe finds nothing, nothing is cut off, and every target is large enough for a finger.

import { PORTAL, assert, edit, head, ids, open, order, progress, readable, script, shot, visitor } from './support.mjs';

const VIEWS = {
  light: { viewport: { width: 1000, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1000, height: 800 }, colorScheme: 'dark' },
  narrow: { viewport: { width: 320, height: 640 }, colorScheme: 'light' },
  'narrow-dark': { viewport: { width: 320, height: 640 }, colorScheme: 'dark' },
  // Half the width is what a browser shows at 200 %.
  large: { viewport: { width: 500, height: 400 }, colorScheme: 'light' },
};
const FAILED = "status = 'failed', pseudonym_salt = null, failure_reason =";

await script(async (browser) => {
  const complaints = [];
  /** Looks at the page in every view. */
  const look = async (page, name) => {
    for (const [view, { viewport, colorScheme }] of Object.entries(VIEWS)) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await readable(page, `${name} ${view}`);
      await shot(page, `${name}-${view}`);
    }
    await page.emulateMedia({ forcedColors: 'active', colorScheme: 'light' });
    await shot(page, `${name}-forced`);
    await page.emulateMedia({ forcedColors: 'none' });
    await page.setViewportSize(VIEWS.light.viewport);
  };

  const outside = await visitor(browser);
  const away = await outside.context.newPage();
  await away.goto(PORTAL);
  await away.getByText('Open this page from the platform').waitFor();
  await look(away, 'signed-out');

  const user = await order('person');
  const { page, ...visit } = await open(browser, user);
  complaints.push(visit.complaints, outside.complaints);
  await page.getByText('Your account.').first().waitFor();
  await look(page, 'nothing');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'Your copy is waiting');
  await look(page, 'waiting');
  await page.getByRole('button', { name: 'Take it back' }).click();
  await page.getByText('Are you sure?').waitFor();
  await look(page, 'sure');
  await page.getByRole('button', { name: 'No, keep it' }).click();
  const [first] = await ids(user);
  await progress(first, { done: 73_000 });
  await page.getByText('73,000 rows').waitFor();
  assert.equal(await page.getByRole('progressbar').getAttribute('value'), null, 'no share is known');
  await look(page, 'running-unknown');
  await progress(first, { done: 73_000, total: 105_120, attempt: 2 });
  await page.getByText('73,000 of about 105,120 rows').waitFor();
  await look(page, 'running');
  await edit(first, 'claim_token = null, claim_owner = null, claim_try = null, lease_until = null');
  await order('fulfil', { id: first });
  await head(page, 'Your copy is ready');
  for (const summary of await page.locator('summary').all()) await summary.click();
  await look(page, 'ready');

  for (const [reason, text] of Object.entries({
    attempts_exhausted: 'our fault',
    unreadable_value: 'could not be read',
    account_deleted: 'no longer exists',
    revoked: 'took it back',
  })) {
    const other = await order('person');
    const visit = await open(browser, other);
    await visit.page.getByRole('button', { name: 'Ask for a copy' }).click();
    await head(visit.page, 'waiting');
    await edit((await ids(other))[0], `${FAILED} '${reason}'`);
    await head(visit.page, 'could not be made');
    await visit.page.getByText(text).first().waitFor();
    assert.equal(await visit.page.getByRole('button', { name: 'Try again' }).count(), reason === 'account_deleted' ? 0 : 1);
    assert.equal(await visit.page.getByRole('button', { name: 'Ask for a copy' }).count(), 0);
    if (reason === 'attempts_exhausted') await look(visit.page, 'failed');
    else await readable(visit.page, reason);
    complaints.push(visit.complaints);
    await visit.context.close();
  }

  // A history with each end, under one that is ready.
  await edit(first, "expires_at = clock_timestamp() - interval '1 second'");
  await page.reload();
  await head(page, 'has expired');
  await look(page, 'expired');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'waiting');
  await page.getByRole('button', { name: 'Take it back' }).click();
  await page.getByRole('button', { name: 'Take it back' }).last().click();
  await head(page, 'taken back');
  await look(page, 'withdrawn');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'waiting');
  await order('fulfil', { id: (await ids(user))[0] });
  await head(page, 'Your copy is ready');
  await look(page, 'history');

  const acting = await open(browser, user, { session: { acting: 'ada of the support' } });
  await acting.page.getByText('You act as another person').waitFor();
  assert.ok(await acting.page.getByRole('button', { name: 'Ask for a copy' }).isDisabled());
  for (const name of ['Download', 'Delete now']) assert.equal(await acting.page.getByRole('button', { name }).count(), 0, name);
  await look(acting.page, 'acting');
  complaints.push(acting.complaints);

  await order('cut');
  await page.getByRole('button', { name: 'Delete now' }).click();
  await page.getByRole('button', { name: 'Delete now' }).last().click();
  await page.getByText('The service does not answer').waitFor();
  await look(page, 'away');
  await order('pass');

  const target = await open(browser, user, { path: `#not-me=${(await ids(user))[0]}` });
  await head(target.page, 'Was it not you?');
  await look(target.page, 'not-me');
  complaints.push(target.complaints);

  const ended = await open(browser, user);
  await head(ended.page, 'Your copy is ready');
  await ended.page.getByRole('button', { name: 'Sign out' }).click();
  await ended.page.getByText('Open this page from the platform').waitFor();
  await look(ended.page, 'ended');
  complaints.push(ended.complaints);
  // A control: what is wrong inside of the element is found.
  await ended.page.evaluate(() => document.querySelector('data-export').shadowRoot.append(document.createElement('button')));
  await assert.rejects(readable(ended.page, 'control'), /button-name/);
  assert.deepEqual(complaints.flat(), []);
});
