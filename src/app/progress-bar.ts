const WIDTH = 30;

/** A line on standard error that is written over, where there is somebody to see it. */
export interface ProgressBar {
  show(done: number, of: number, words: string): void;
  end(): void;
}

export function progressBar(): ProgressBar {
  if (!process.stderr.isTTY) return { show: () => undefined, end: () => undefined };
  return {
    show(done, of, words) {
      const width = Math.min(WIDTH, Math.floor((WIDTH * done) / Math.max(1, of)));
      process.stderr.write(`\r[${'#'.repeat(width)}${'.'.repeat(WIDTH - width)}] ${words}\x1b[K`);
    },
    end: () => void process.stderr.write('\n'),
  };
}
