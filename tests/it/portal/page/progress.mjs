// The bar never falls within an attempt, is never whole before the export is ready, and speaks at quarters only.

import { assert, edit, head, ids, open, order, progress, script, until } from './support.mjs';

await script(async (browser) => {
  const user = await order('person');
  const { page, complaints } = await open(browser, user);
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'is waiting');
  // Everything that is said, in its order.
  await page.evaluate(() => {
    const status = document.querySelector('data-export').shadowRoot.querySelector('[role=status]');
    globalThis.said = [];
    new MutationObserver(() => globalThis.said.push(status.textContent)).observe(status, { childList: true, characterData: true, subtree: true });
  });
  const [id] = await ids(user);
  const bar = page.getByRole('progressbar');
  const reaches = async (report, text, value) => {
    await progress(id, report);
    await page.getByText(text).waitFor();
    assert.equal(Number(await bar.getAttribute('value')), value, text);
  };
  await progress(id, { done: 10 });
  await page.getByText('10 rows').waitFor();
  assert.equal(await bar.getAttribute('value'), null);
  await reaches({ done: 100, total: 1000 }, '100 of about 1,000 rows', 9);
  // The focus stays on the button while the text around it changes.
  await page.getByRole('button', { name: 'Take it back' }).focus();
  await reaches({ done: 300, total: 1000 }, '300 of about 1,000 rows', 27);
  await reaches({ done: 310, total: 1000 }, '310 of about 1,000 rows', 27);
  // The estimate was too small: the share would fall, and does not.
  await reaches({ done: 320, total: 2000 }, '320 of about 2,000 rows', 27);
  await reaches({ done: 2000, total: 2000 }, '2,000 of about 2,000 rows', 90);
  await reaches({ phase: 'uploading', done: 5_000_000, total: 5_000_000 }, '5 MB / 5 MB', 99);
  assert.equal(await page.evaluate(() => document.querySelector('data-export').shadowRoot.activeElement.textContent), 'Take it back');
  await reaches({ attempt: 2, done: 100, total: 1000 }, '100 of about 1,000 rows', 9);
  await page.getByText('A fault interrupted it. This is attempt 2.').first().waitFor();
  await edit(id, 'claim_token = null, claim_owner = null, claim_try = null, lease_until = null');
  await order('fulfil', { id });
  await head(page, 'is ready');
  await until('the end to be said', async () => (await page.evaluate(() => globalThis.said)).at(-1).startsWith('Your copy is ready'));
  const said = await page.evaluate(() => globalThis.said);
  const expected = ['Your copy is being made. You can close this page.', 'Your copy is being made: 25%', 'Your copy is being made: 75%'];
  assert.deepEqual(said.slice(0, 3), expected, said.join(' | '));
  assert.ok(said.length <= 7, said.join(' | '));
  assert.deepEqual(complaints, []);
});
