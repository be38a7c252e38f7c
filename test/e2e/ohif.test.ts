import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { type Drawn, measure, startBrowser } from '../fixtures/browser.ts';
import { storescu } from '../fixtures/dcmtk.ts';
import { makeSeries, uid } from '../fixtures/dicom.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';
import { skipViewer, startViewer } from '../fixtures/viewer.ts';

const WAIT_MS = 60_000;
const CASES = [
  { modality: 'CT', study: 'ohif-ct', patientName: 'Phantom^Carla', shown: 'Phantom, Carla', series: 'Axial 2.5 mm' },
  { modality: 'MR', study: 'ohif-mr', patientName: 'Phantom^Maria', shown: 'Phantom, Maria', series: 'T1 axial' },
] as const;

/** What the viewport shows, as soon as an image is drawn in it, or after the wait, whatever there is then. */
async function viewport(page: Page, scratch: Page): Promise<Drawn> {
  const canvas = page.locator('canvas.cornerstone-canvas').first();
  await canvas.waitFor({ timeout: WAIT_MS });
  for (const started = Date.now(); ; await page.waitForTimeout(250)) {
    const drawn = await measure(scratch, await canvas.screenshot());
    if (drawn.greys > 16 || Date.now() - started > WAIT_MS) return drawn;
  }
}

test('OHIF shows what storescu pushed', { skip: skipViewer || skipWithout('chromium', 'storescu') }, async (t) => {
  const folder = await tempFolder(t);
  const bridge = await startBridge({ env: { DAGPACS_TRUST_PROXY: 'on' } });
  t.teardown(() => bridge.stop());

  for (const { modality, study, patientName } of CASES) {
    const slices = makeSeries({
      count: 5,
      modality,
      study,
      patientName,
      patientID: `ID-${modality}`,
      rows: 256,
      columns: 256,
    });
    const files = slices.map((_, i) => join(folder, `${modality}${i}.dcm`));
    await Promise.all(slices.map((bytes, i) => writeFile(files[i] as string, bytes)));
    const sent = await storescu(bridge.dimse, files);
    t.equal(sent.code, 0, sent.output);
  }

  const viewer = await startViewer(bridge.dicomWeb);
  t.teardown(() => viewer.close());
  const browser = await startBrowser();
  t.teardown(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const scratch = await browser.newPage();

  await page.goto(viewer.url);
  for (const { shown, modality } of CASES) {
    const row = page.getByRole('row').filter({ hasText: shown });
    await row.waitFor({ timeout: WAIT_MS });
    t.match(await row.textContent(), modality, `the study list shows ${shown}`);
  }

  for (const { shown, study, series, modality } of CASES) {
    await page.goto(`${viewer.url}/viewer?StudyInstanceUIDs=${uid('study', study)}`);
    const drawn = await viewport(page, scratch);
    t.ok(drawn.greys > 16, `${shown}: ${drawn.greys} grey values`);
    t.ok(drawn.darkest < 16 && drawn.brightest > 240, `${shown}: from ${drawn.darkest} to ${drawn.brightest}`);
    await page.getByText(series).first().waitFor({ timeout: WAIT_MS });
    t.pass(`${modality}: ${series}`);
  }

  const failed = viewer.requests.filter(({ status }) => status >= 400);
  t.strictSame(failed, [], 'every request of the viewer was answered');
  t.ok(
    viewer.requests.some(({ path, accept }) => path.endsWith('/frames/1') && accept.includes('transfer-syntax=*')),
    'pixels came as frames',
  );
});
