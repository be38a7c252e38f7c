/**
 * `node count.mjs FORGE_LOG TAP_FILE`: prints `N passed, N failed, N skipped` over forge's tests and tap's test points.
 * A point that sums up a subtest counts only when it failed and nothing within it did (a time-out, a plan that was not met).
 * A file that is absent counts nothing: the run ended before.
 */
import { existsSync, readFileSync } from 'node:fs';

const [forgeLog, tapFile] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };

function read(file) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  return file !== undefined && existsSync(file) ? readFileSync(file, 'utf8').replace(/\x1b\[[\d;]*m/g, '') : '';
}

function countForge(text) {
  // A line for each contract, then one for all: the last says it. A build that fails prints none.
  const found = [...text.matchAll(/(\d+) tests? passed, (\d+) failed, (\d+) skipped/g)].at(-1);
  if (found === undefined) return;
  total.passed += Number(found[1]);
  total.failed += Number(found[2]);
  total.skipped += Number(found[3]);
}

function countTap(text) {
  /** Per depth: what was seen below the next point of the depth above. */
  const below = [];
  let diagnostic;
  for (const line of text.split('\n')) {
    const [, indent, rest] = /^( *)(.*)$/.exec(line);
    if (diagnostic !== undefined) {
      if (rest === '...' && indent.length === diagnostic) diagnostic = undefined;
      continue;
    }
    if (rest === '---') {
      diagnostic = indent.length;
      continue;
    }
    const point = /^(not )?ok\b(.*)$/.exec(rest);
    const depth = indent.length / 4;
    if (rest.startsWith('Bail out!')) total.failed++;
    if (point === null || !Number.isInteger(depth)) continue;
    const [, not, description] = point;
    const buffered = description.endsWith('{');
    const children = below[depth + 1];
    const parent = buffered || children !== undefined;
    const excused = /# (skip|todo)\b/i.test(description);
    const failed = not !== undefined && !excused;
    below[depth + 1] = undefined;
    below[depth] ??= { failed: 0 };
    if (!parent) {
      if (excused) total.skipped++;
      else if (failed) total.failed++;
      else total.passed++;
    } else if (failed && !buffered && children.failed === 0) {
      total.failed++;
    }
    if (failed) below[depth].failed++;
  }
}

countForge(read(forgeLog));
countTap(read(tapFile));
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
