import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'tap';
import { startChild } from '../../../src/kernel/child-process.ts';

const module = new URL('../../../src/kernel/child-process.ts', import.meta.url).href;

function lives(pid: number | undefined): boolean {
  try {
    return process.kill(pid as number, 0);
  } catch {
    return false;
  }
}

async function gone(pid: number | undefined): Promise<boolean> {
  for (let i = 0; i < 200 && lives(pid); i++) await delay(50);
  return !lives(pid);
}

/** Starts a child that prints `ready` once its script is set up, and waits for that. */
async function startReady(script: string, stopTimeoutMs?: number) {
  const ready = Promise.withResolvers<void>();
  const child = startChild({
    command: process.execPath,
    args: ['-e', `${script}; setInterval(() => {}, 1000); console.log('ready')`],
    name: 'test child',
    onLine: (line) => line === 'ready' && ready.resolve(),
    ...(stopTimeoutMs === undefined ? {} : { stopTimeoutMs }),
  });
  await ready.promise;
  return child;
}

test('lines and the exit status are the child’s own', async (t) => {
  const lines: string[] = [];
  const child = startChild({
    command: process.execPath,
    args: ['-e', 'console.log("pid " + process.pid); console.error(process.argv[1]); process.exitCode = 7', "a 'b' $c"],
    name: 'test child',
    onLine: (line, stream) => lines.push(`${stream}: ${line}`),
  });
  t.same(await child.exited, { code: 7, signal: null });
  await delay(50);
  t.same(lines.sort(), ["stderr: a 'b' $c", `stdout: pid ${child.pid}`]);
  await child.stop();
});

test('a command that is not there ends with 127', async (t) => {
  const child = startChild({ command: '/nonexistent/command', args: [], name: 'nothing' });
  t.same(await child.exited, { code: 127, signal: null });
});

test('a child killed from outside is noticed', async (t) => {
  const child = await startReady('');
  process.kill(child.pid as number, 'SIGKILL');
  t.same(await child.exited, { code: null, signal: 'SIGKILL' });
});

test('stop asks first', async (t) => {
  const child = await startReady('process.on("SIGTERM", () => process.exit(3))');
  await Promise.all([child.stop(), child.stop()]);
  t.same(await child.exited, { code: 3, signal: null });
});

test('stop kills a child that does not listen', async (t) => {
  const child = await startReady('process.on("SIGTERM", () => {})', 100);
  await child.stop();
  t.same(await child.exited, { code: null, signal: 'SIGKILL' });
});

test('what a terminal sends to our process group does not reach the child', async (t) => {
  const child = await startReady('');
  t.ok(process.kill(-(child.pid as number), 0), 'it leads a group of its own');
  await child.stop();
});

for (const [what, script] of [
  ['a child that listens', ''],
  ['a child that ignores SIGTERM', 'process.on("SIGTERM", () => {})'],
] as const) {
  test(`SIGKILL of the parent leaves no orphan: ${what}`, { skip: process.platform === 'win32' }, async (t) => {
    const source = `
      import { startChild } from ${JSON.stringify(module)};
      const script = ${JSON.stringify(`${script}; setInterval(() => {}, 1000); console.log('ready')`)};
      const child = startChild({ command: process.execPath, args: ['-e', script], name: 'orphan', stopTimeoutMs: 300,
        onLine: (line) => line === 'ready' && console.log(child.pid) });`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const pid = Number(line);
    t.ok(lives(pid));
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    t.ok(await gone(pid));
  });
}
