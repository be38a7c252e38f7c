import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface ChildOptions {
  command: string;
  args: readonly string[];
  /** The child's whole environment; ours where it is not given. */
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** For messages. */
  name: string;
  /** Called for each line of output. Without it the output is thrown away. */
  onLine?: (line: string, stream: 'stdout' | 'stderr') => void;
  /** What asks the child to end; SIGTERM by default. */
  stopSignal?: 'SIGTERM' | 'SIGINT' | 'SIGQUIT';
  /** Milliseconds from the stop signal to SIGKILL; 10,000 by default. */
  stopTimeoutMs?: number;
}

export interface Exit {
  /** 126 or 127 where the command could not be run, as a shell has it. */
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Child {
  readonly name: string;
  /** The child's own process id; undefined where it could not be started. */
  readonly pid: number | undefined;
  /** Resolves when the child has ended, however it did; never rejects. */
  readonly exited: Promise<Exit>;
  /** Asks the child to end, kills it after the timeout, and resolves when it is gone. */
  stop(): Promise<void>;
}

/**
 * The shell forks a guard that waits on a pipe from us (file descriptor 3), then becomes the child, so that process id,
 * signals and exit status are the child's own. A line on the pipe releases the guard; end of file without one means that
 * we died, SIGKILL included, and the guard then ends the child. $1: stop signal; $2: tenths of a second until SIGKILL.
 */
const GUARD = `
(
  trap '' HUP INT TERM
  read -r word <&3 && exit
  kill -s "$1" $$
  left=$2
  while [ "$left" -gt 0 ] && kill -0 $$; do left=$((left - 1)); sleep 0.1 || sleep 1; done
  kill -0 $$ && kill -s KILL -- -$$
) </dev/null >/dev/null 2>&1 &
shift 2
exec "$@" 3<&-`;

/**
 * Starts a child that cannot outlive this process. It has a session of its own, so a terminal's Ctrl-C reaches us alone
 * and we can drain before we stop it. On Windows there is no guard.
 */
export function startChild(options: ChildOptions): Child {
  const { command, args, name, onLine, stopSignal = 'SIGTERM', stopTimeoutMs = 10_000 } = options;
  const output = onLine ? 'pipe' : 'ignore';
  const surroundings = { cwd: options.cwd, env: options.env, windowsHide: true };
  const guarded = process.platform !== 'win32';
  const tenths = String(Math.ceil(stopTimeoutMs / 100));
  const child: ChildProcess = guarded
    ? spawn('/bin/sh', ['-c', GUARD, name, stopSignal.slice(3), tenths, command, ...args], {
        ...surroundings,
        detached: true,
        stdio: ['ignore', output, output, 'pipe'],
      })
    : spawn(command, args, { ...surroundings, stdio: ['ignore', output, output] });

  const guard = guarded ? (child.stdio[3] as NodeJS.WritableStream) : undefined;
  // A guard that was killed needs no release; the broken pipe says nothing else.
  guard?.on('error', () => undefined);
  if (onLine) {
    for (const stream of ['stdout', 'stderr'] as const) {
      const input = child[stream];
      if (input) createInterface({ input }).on('line', (line) => onLine(line, stream));
    }
  }

  let gone = false;
  const exited = new Promise<Exit>((resolve) => {
    const end = (exit: Exit) => {
      gone = true;
      guard?.end('released\n');
      resolve(exit);
    };
    child.once('error', (error) => {
      if (child.pid !== undefined) return;
      onLine?.(`${name}: ${error.message}`, 'stderr');
      end({ code: 127, signal: null });
    });
    child.once('exit', (code, signal) => end({ code, signal }));
  });

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    if (gone) return;
    child.kill(stopSignal);
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await exited;
    clearTimeout(timer);
  };
  return {
    name,
    pid: child.pid,
    exited,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}
