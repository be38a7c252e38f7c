import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'tap';
import { projectRoot } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain } from '../fixtures/chain.ts';
import { freePorts } from '../fixtures/ports.ts';
import { tempFolder } from '../fixtures/temp.ts';

test('the doctor says what is well, and what to do', async (t) => {
  const chain = await startChain(t);
  const dataDir = await tempFolder(t);
  const [http = 0, dimse = 0] = await freePorts(2);
  const well: Record<string, string> = {
    DAGPACS_DATA_DIR: join(dataDir, 'not', 'yet'),
    DAGPACS_CHAIN_RPC: chain.url,
    DAGPACS_CHAIN_KEY: CHAIN_KEY,
    DAGPACS_HTTP_PORT: String(http),
    DAGPACS_DIMSE_PORT: String(dimse),
    DAGPACS_KUBO_BIN: 'none',
  };
  const dagpacs = (settings: Record<string, string>, ...args: string[]) =>
    new Promise<{ code: number; stdout: string }>((resolve) => {
      const options = { cwd: dataDir, env: { PATH: process.env.PATH, ...well, ...settings } };
      execFile(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], options, (error, stdout) => {
        resolve({ code: error ? Number(error.code) : 0, stdout });
      });
    });
  t.match(await dagpacs({}, 'doctor'), { code: 0, stdout: /warn {2}contract: none yet\n +run dagpacs chain init/ });
  t.match(await dagpacs({}, 'chain', 'init'), { code: 0 });
  const good = await dagpacs({}, 'doctor');
  t.equal(good.code, 0);
  for (const line of [
    /ok {4}Node.js/,
    /ok {4}data directory/,
    /ok {4}chain: 31337/,
    /ok {4}clock/,
    /ok {4}key: account 0x/,
  ]) {
    t.match(good.stdout, line);
  }
  t.match(good.stdout, /ok {4}contract: AnchorLog at 0x[0-9a-f]{40}, our account is a member/);
  t.match(good.stdout, /ok {4}balance|warn {2}balance/);
  t.match(good.stdout, /warn {2}Kubo: none is configured\n +set DAGPACS_KUBO_API/);

  const server = createServer((_, response) => response.end('<html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const taken = (server.address() as AddressInfo).port;
  const ill: [Record<string, string>, RegExp][] = [
    [
      { DAGPACS_HTTP_PORT: String(taken) },
      /FAIL {2}DAGPACS_HTTP_PORT 127.0.0.1:\d+: EADDRINUSE\n +end what listens there/,
    ],
    [{ DAGPACS_CHAIN_RPC: `http://127.0.0.1:${taken}` }, /FAIL {2}chain: .*\n +look at the node/],
    [
      { DAGPACS_CHAIN_KEY: '', DAGPACS_CHAIN_KEY_FILE: join(dataDir, 'none') },
      /FAIL {2}key: .* is not there\n +see DAGPACS_CHAIN_KEY/,
    ],
    [{ DAGPACS_CHAIN_CONTRACT: `0x${'1'.repeat(40)}` }, /FAIL {2}contract: .* is no AnchorLog/],
    [{ DAGPACS_CHAIN_KEY: `0x${'2'.repeat(64)}` }, /FAIL {2}contract: .* does not know our account/],
    [{ DAGPACS_KUBO_API: `http://127.0.0.1:${taken}` }, /FAIL {2}Kubo/],
  ];
  for (const [settings, line] of ill) t.match(await dagpacs(settings, 'doctor'), { code: 1, stdout: line });
  t.match(await dagpacs({}, 'doctor', 'more'), { code: 2 });
});
