/** Where the program tells of itself. Events are short kebab-case names; fields never hold patient data, UIDs or keys. */
export interface Log {
  info(event: string, fields?: object): void;
  warn(event: string, fields?: object): void;
  error(event: string, fields?: object): void;
}

export type LogLevel = 'info' | 'warn' | 'error' | 'silent';

const RANK: Record<LogLevel, number> = { info: 0, warn: 1, error: 2, silent: 3 };

/** Writes one JSON object a line (`time`, `level`, `event`, then the fields) through `write`. */
export function createLog(level: LogLevel, write: (line: string) => void): Log {
  const at =
    (rank: LogLevel) =>
    (event: string, fields: object = {}) => {
      if (RANK[rank] < RANK[level]) return;
      write(`${JSON.stringify({ time: new Date().toISOString(), level: rank, event, ...fields })}\n`);
    };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}
