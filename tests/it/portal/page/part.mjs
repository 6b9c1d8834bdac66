// A part of the data: chosen with its references, asked for, shown, made and asked for again.

import { assert, edit, head, ids, open, order, readable, script, shot, sql, until } from './support.mjs';

const scope = async (id) => {
  const [row] = await sql(`select jsonb_build_object('entities', entities, 'since', since, 'until', until, 'filters', filters)::text from public.data_export_requests where id = '${id}'`);
  return JSON.parse(row);
};

await script(async (browser) => {
  const user = await order('person');
  const { page, complaints } = await open(browser, user);
  await page.getByText('Only a part of my data').click();
  const box = (name) => page.getByRole('checkbox', { name: new RegExp(`^${name} `) });
  const names = ['users', 'projects', 'features', 'pipeline runs', 'releases'];
  for (const name of names) assert.ok(await box(name).isChecked(), name);
  assert.ok(await box('users').isDisabled(), 'the account is always there');
  await readable(page, 'part');
  await page.emulateMedia({ colorScheme: 'dark' });
  await readable(page, 'part in the dark');
  await shot(page, 'part-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 320, height: 640 });
  await readable(page, 'part, narrow');
  await shot(page, 'part-narrow');
  await page.setViewportSize({ width: 1000, height: 800 });

  // What releases refer to comes along, and cannot be taken away.
  await box('features').uncheck();
  await box('pipeline runs').uncheck();
  await box('projects').click();
  await page.getByText('projects: comes along with releases.').first().waitFor();
  assert.ok(await box('projects').isChecked());
  assert.match(await page.getByRole('status').textContent(), /comes along with releases/);
  assert.equal(await page.getByText('Only of: releases').count(), 1);
  assert.equal(await page.getByLabel(/^pipeline runs: status/).isVisible(), false);
  await box('releases').uncheck();
  await box('projects').uncheck();
  assert.equal(await page.getByLabel('From', { exact: true }).isVisible(), false, 'nothing has a time');
  await box('releases').check();

  // Closed and opened again, nothing is left of what was chosen, and closed it is the whole.
  await page.getByText('Only a part of my data').click();
  await until('the fields to go', async () => (await page.getByRole('checkbox').count()) === 2);
  await page.getByText('Only a part of my data').click();
  for (const name of names) assert.ok(await box(name).isChecked(), name);
  await box('features').uncheck();
  await box('pipeline runs').uncheck();

  // A day that is not whole, and one that ends before it begins is not asked for.
  await page.getByLabel('From', { exact: true }).focus();
  await page.keyboard.type('03');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await page.getByText('A day is not whole.').waitFor();
  assert.deepEqual(await ids(user), []);
  await page.getByLabel('From', { exact: true }).fill('2026-03-02');
  await page.getByLabel('To', { exact: true }).fill('2026-03-01');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await page.getByText('The last day is before the first one.').waitFor();
  assert.deepEqual(await ids(user), []);
  await page.getByLabel('To', { exact: true }).fill('2026-03-31');
  await page.getByLabel(/^releases: channel/).fill('stable, beta');
  await page.getByRole('checkbox', { name: 'Also as one workbook' }).check();
  await page.getByRole('checkbox', { name: 'Also as Parquet' }).check();
  await shot(page, 'part');
  await page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(page, 'Your copy is waiting');
  const [id] = await ids(user);
  // Days of Berlin, the last one included: there, summer time begins on 29 March.
  assert.deepEqual(await scope(id), {
    entities: ['users', 'projects', 'releases'],
    since: '2026-03-01T23:00:00+00:00',
    until: '2026-03-31T22:00:00+00:00',
    filters: { releases: { channel: ['stable', 'beta'] } },
  });
  assert.deepEqual(await sql(`select array_to_string(formats, ' ') from public.data_export_requests where id = '${id}'`), ['json csv xlsx parquet']);
  await page.getByText('users, projects and releases; From: ').waitFor();
  assert.match(await page.getByRole('article').textContent(), /JSON, CSV, XLSX,? and Parquet/);
  assert.match(await page.getByRole('article').textContent(), /releases, channel: stable and beta/);
  await order('fulfil', { id });
  await head(page, 'Your copy is ready');
  assert.equal(await page.getByRole('checkbox', { name: /^Also as/, checked: true }).count(), 0, 'for this copy only');
  await readable(page, 'ready part');
  await shot(page, 'part-ready');

  // A part that the catalogue has lost is asked for anew, not again.
  const other = await order('person');
  const lost = await open(browser, other);
  await lost.page.getByRole('button', { name: 'Ask for a copy' }).click();
  await head(lost.page, 'waiting');
  await edit((await ids(other))[0], "status = 'failed', pseudonym_salt = null, failure_reason = 'scope_refused'");
  await head(lost.page, 'could not be made');
  await lost.page.getByText('does not have the part').first().waitFor();
  assert.equal(await lost.page.getByRole('button', { name: 'Try again' }).count(), 0);
  assert.equal(await lost.page.getByRole('button', { name: 'Ask for a copy' }).count(), 1);
  assert.deepEqual([...complaints, ...lost.complaints], []);
});
