// A link of a mail: opening it changes nothing, pressing the button withdraws that export and no other.

import { assert, head, ids, open, order, PORTAL, script, sql } from './support.mjs';

await script(async (browser) => {
  const user = await order('person');
  const asking = await open(browser, user);
  for (let count = 0; count < 12; count++) {
    await asking.page.getByRole('button', { name: 'Ask for a copy' }).click();
    await head(asking.page, 'is waiting');
    if (count < 11) {
      await order('fulfil', { id: (await ids(user))[0] });
      await head(asking.page, 'is ready');
    }
  }
  const all = await ids(user);
  assert.equal(all.length, 12);
  const states = () => sql(`select concat(id, status) from public.data_export_requests where user_id = '${user}' order by 1`);
  const before = await states();

  // The history comes in pages.
  const { page, complaints } = asking;
  await page.reload();
  await head(page, 'is waiting');
  assert.equal(await page.getByRole('listitem').filter({ has: page.locator('summary') }).count(), 9);
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.getByRole('button', { name: 'Show more' }).waitFor({ state: 'hidden' });
  assert.equal(await page.getByRole('listitem').filter({ has: page.locator('summary') }).count(), 11);

  // The oldest is on the second page, and the link leads to it.
  await page.goto(`${PORTAL}/#export=${all[11]}`);
  await page.reload();
  const focused = () => page.evaluate(() => {
    const { activeElement } = document.querySelector('data-export').shadowRoot;
    const box = activeElement?.getBoundingClientRect();
    return activeElement && [activeElement.textContent, activeElement.closest('article')?.textContent, box.top >= 0 && box.bottom <= innerHeight];
  });
  const reference = all[11].slice(0, 8).toUpperCase().replace(/(....)/, '$1-');
  await page.waitForFunction(() => document.querySelector('data-export').shadowRoot.activeElement);
  const [text, article, seen] = await focused();
  assert.ok(text === 'Your copy is ready' && article.includes(reference) && seen, `${text} ${article} ${seen}`);

  // "It was not me".
  await page.goto(`${PORTAL}/#not-me=${all[11]}`);
  await head(page, 'Was it not you?');
  assert.deepEqual(await states(), before, 'nothing happens by opening it');
  await page.getByRole('button', { name: 'It was me' }).click();
  await page.getByRole('heading', { name: 'Was it not you?' }).waitFor({ state: 'hidden' });
  assert.deepEqual(await states(), before);
  await page.goto(`${PORTAL}/#not-me=${all[11]}`);
  await page.getByRole('button', { name: 'It was not me' }).click();
  await page.getByText('change your password now').waitFor();
  const changed = (await states()).filter((state, at) => state !== before[at]);
  assert.deepEqual(changed, [`${all[11]}failed`]);
  await page.waitForFunction(() => document.querySelector('data-export').shadowRoot.activeElement?.textContent === 'Was it not you?');

  // One of another account.
  const other = await order('person');
  const unrelated = await open(browser, other, { path: `#not-me=${all[0]}` });
  await unrelated.page.getByText('This copy does not exist, or belongs to another account').waitFor();
  assert.equal(await unrelated.page.getByRole('button', { name: 'It was not me' }).count(), 0);
  assert.deepEqual([...complaints, ...unrelated.complaints], []);
});
