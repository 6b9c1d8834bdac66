// A browser goes on by itself with a large download that was cut in the middle.

import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { assert, open, order, PORTAL, script, until } from './support.mjs';

const { user, id, bytes, sha256 } = JSON.parse(process.env.PAGE_FACTS);

await script(async (browser) => {
  const { page } = await open(browser, user);
  const beginning = page.waitForEvent('download');
  await page.evaluate((to) => location.assign(to), `${PORTAL}/v1/exports/${id}/download`);
  const download = await beginning;
  assert.equal(download.suggestedFilename(), `export-${id}.zip`);
  const largest = () => Math.max(0, ...readdirSync('.').map((name) => statSync(name).size));
  await until('a third of it', () => largest() >= 2 ** 30, 120_000);
  await order('cut');
  await order('pass');
  const path = await download.path();
  assert.equal(statSync(path).size, bytes);
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) digest.update(chunk);
  assert.equal(digest.digest('hex'), sha256);
});
