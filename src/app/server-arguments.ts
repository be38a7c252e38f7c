import { UsageError } from './outcome.ts';

/** `Name: value` of a command line. @throws UsageError */
export function headersOf(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):\s*([\x20-\x7e]*)$/.exec(line) ?? [];
      if (name === undefined) throw new UsageError("--header is 'Name: value'");
      return [name.toLowerCase(), value ?? ''];
    }),
  );
}

/** The base of a server's services, given as `--name`. @throws UsageError */
export function baseOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? '')) throw new UsageError(`--${name} is an http or https URL`);
  return text;
}

/** A whole number from 1 to 64 of a command line. @throws UsageError */
export function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 64)
    throw new UsageError(`--${name} is a whole number from 1 to 64`);
  return number;
}
