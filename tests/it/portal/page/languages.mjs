// Every language has every text, times are in the reader's zone, and a right-to-left language is mirrored.

import { assert, head, ids, open, order, PORTAL, progress, readable, script, shot } from './support.mjs';

await script(async (browser) => {
  const user = await order('person');
  const { page, context, complaints } = await open(browser, user);
  await page.getByText('Your account.').first().waitFor();
  const missing = await page.evaluate(async () => {
    const { texts } = await import('/data-export.js');
    const names = Object.keys(texts.en);
    const holes = (text) => [...text.matchAll(/{\d}/g)].map(String).sort().join();
    return Object.entries(texts).flatMap(([language, own]) => [
      ...names.filter((name) => !own[name]?.trim() || holes(own[name]) !== holes(texts.en[name])),
      ...Object.keys(own).filter((name) => !names.includes(name)),
    ].map((name) => `${language}.${name}`));
  });
  assert.deepEqual(missing, []);
  assert.deepEqual(await page.evaluate(async () => Object.keys((await import('/data-export.js')).texts)), ['en', 'de', 'fr', 'es']);
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'is waiting');

  // The night begins at 01:00 UTC.
  const zones = { 'Pacific/Auckland': /2:00\sPM/, 'America/New_York': /8:00\sPM/ };
  for (const [timezoneId, text] of Object.entries(zones)) {
    const other = await open(browser, user, { timezoneId, locale: 'en-US' });
    assert.match(await other.page.getByRole('article').getByText('At night, from').textContent(), text, timezoneId);
    await other.context.close();
  }

  for (const [locale, title, button] of [
    ['de-AT', 'Eine Kopie Ihrer Daten', 'Zurückziehen'],
    ['fr-CA', 'Une copie de vos données', 'Annuler la demande'],
    ['es-MX', 'Una copia de sus datos', 'Retirar la solicitud'],
    ['ja-JP', 'A copy of your data', 'Take it back'],
  ]) {
    const other = await open(browser, user, { locale });
    await other.page.getByRole('button', { name: button }).waitFor();
    assert.equal(await other.page.title(), title);
    await readable(other.page, locale);
    await shot(other.page, `language-${locale}`);
    await other.context.close();
  }

  // A language that the page adds, written from right to left.
  await page.evaluate(async () => {
    const { texts } = await import('/data-export.js');
    texts['ar-XB'] = { dir: 'rtl', ...Object.fromEntries(Object.entries(texts.en).map(([name, text]) => [name, `\u202e${text}\u202c`])) };
    document.querySelector('data-export').lang = 'ar-XB';
  });
  const [id] = await ids(user);
  await progress(id, { done: 400, total: 1000 });
  await page.getByRole('progressbar').waitFor();
  const sides = await page.evaluate(() => {
    const root = document.querySelector('data-export').shadowRoot;
    const box = root.querySelector('article').getBoundingClientRect();
    const button = root.querySelector('article button:not([hidden])').getBoundingClientRect();
    return [button.left - box.left, box.right - button.right];
  });
  assert.ok(sides[0] > sides[1], `the button is on the right: ${sides}`);
  await readable(page, 'right to left');
  await shot(page, 'rtl');
  await page.setViewportSize({ width: 320, height: 640 });
  await readable(page, 'right to left, narrow');
  await shot(page, 'rtl-narrow');
  assert.equal(PORTAL, new URL(context.pages()[0].url()).origin);
  assert.deepEqual(complaints, []);
});
