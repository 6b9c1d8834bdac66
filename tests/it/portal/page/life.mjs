// The whole life of an export with the keyboard alone, made by a real worker.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { assert, head, ids, open, order, script, shot, sql, tabTo, until } from './support.mjs';

await script(async (browser) => {
  const user = await order('person');
  const { page, origins, complaints } = await open(browser, user);
  await page.getByText('Your account.').first().waitFor();
  const press = async (name, key = 'Enter') => {
    await tabTo(page, name);
    await page.keyboard.press(key);
  };

  // Ask. The focus is on what happens next.
  await tabTo(page, 'As soon as possible');
  assert.ok(await page.getByRole('radio', { name: 'As soon as possible' }).isChecked());
  await press('Ask for a copy');
  await head(page, 'Your copy is ready');
  assert.match(await page.getByRole('status').textContent(), /Your copy is ready/);
  await until('the focus to be kept', () => page.evaluate(() => document.querySelector('data-export').shadowRoot.activeElement?.textContent.startsWith('Your copy')));

  // Download: what is saved is what the page says.
  const saving = page.waitForEvent('download');
  await press('Download', 'Space');
  const download = await saving;
  const [id] = await ids(user);
  assert.equal(download.suggestedFilename(), `export-${id}.zip`);
  const path = await download.path();
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
  const signing = page.waitForEvent('download');
  await press('Save the receipt');
  const receipt = await signing;
  assert.equal(receipt.suggestedFilename(), `data-export-receipt-${id}.jws`);
  const stated = JSON.parse(Buffer.from(readFileSync(await receipt.path(), 'utf8').split('.')[1], 'base64url'));
  assert.deepEqual([stated.jti, stated.sub, stated.archive.sha256], [id, String(user), digest]);
  await press('Check a downloaded file');
  await page.getByText(digest).waitFor();

  // Check it, and another file, and one of the same size that is damaged.
  const check = async (file) => {
    const choosing = page.waitForEvent('filechooser');
    await tabTo(page, 'Choose the file');
    await page.keyboard.press('Enter');
    await (await choosing).setFiles(file);
    await page.keyboard.press('Shift+Tab');
  };
  await check(path);
  await page.getByRole('article').getByText('complete and unchanged').waitFor();
  assert.match(await page.getByRole('status').textContent(), /complete and unchanged/);
  await shot(page, 'checked');
  const damaged = readFileSync(path);
  damaged[100] ^= 1;
  writeFileSync('damaged.zip', damaged);
  writeFileSync('other.zip', 'another file');
  for (const file of ['damaged.zip', 'other.zip']) {
    await check(file);
    await page.getByRole('article').getByText('another file, or it is damaged').waitFor();
    await check(path);
    await page.getByRole('article').getByText('complete and unchanged').waitFor();
  }
  // Dropped with a mouse it is checked, too.
  await page.evaluate(() => {
    const files = new DataTransfer();
    files.items.add(new File(['another'], 'other.zip'));
    document.querySelector('data-export').shadowRoot.querySelector('label.drop').dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true }));
  });
  await page.getByRole('article').getByText('another file, or it is damaged').waitFor();

  // Delete: asked first, and "no" is where the focus is.
  await tabTo(page, 'Delete now', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.getByText('Are you sure?').waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('Are you sure?').waitFor({ state: 'hidden' });
  await page.keyboard.press('Enter');
  await press('Delete now');
  await head(page, 'was taken back');
  assert.deepEqual(await sql(`select failure_reason from public.data_export_requests where id = '${id}'`), ['withdrawn']);

  // Ask again.
  await press('Ask for a copy');
  await head(page, 'Your copy is ready');
  assert.equal((await ids(user)).length, 2);
  await page.getByRole('heading', { name: 'Earlier copies' }).waitFor();
  assert.equal(await page.getByRole('listitem').filter({ hasText: 'taken back' }).count(), 1);
  assert.deepEqual(complaints, []);
  // Our origin, and the store for the click on "Download".
  assert.equal(origins.size, 2, [...origins].join(' '));
});
