import { decode } from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import { DagpacsError } from '../kernel/errors.ts';
import type { Cid } from './cid.ts';

/** Reads a dag-cbor map field by field; what is absent, superfluous or of another kind is damage. */
export class Shape {
  readonly #what: string;
  readonly #fields: Map<string, unknown>;

  /** @throws DagpacsError `block-damaged` where `bytes` are no dag-cbor map; as do the methods below. */
  constructor(what: string, bytes: Uint8Array) {
    this.#what = what;
    let value: unknown;
    try {
      value = decode(bytes);
    } catch (cause) {
      throw this.damaged('not dag-cbor', cause);
    }
    if (!isMap(value)) throw this.damaged('not a map');
    this.#fields = new Map(Object.entries(value));
  }

  /** Takes a field out. */
  take(name: string): unknown {
    const value = this.#fields.get(name);
    if (!this.#fields.delete(name)) throw this.damaged(`${name} is missing`);
    return value;
  }

  has(name: string): boolean {
    return this.#fields.has(name);
  }

  constant(name: string, expected: string | number): void {
    if (this.take(name) !== expected) throw this.damaged(`${name} is not ${expected}`);
  }

  text(name: string): string {
    const value = this.take(name);
    if (typeof value !== 'string') throw this.damaged(`${name} is not text`);
    return value;
  }

  /** A whole number of 0 or more. */
  count(name: string): number {
    const value = this.take(name);
    if (!isCount(value)) throw this.damaged(`${name} is not a count`);
    return value;
  }

  /** A byte string, of `size` bytes where that is given. */
  bytes(name: string, size?: number): Uint8Array {
    const value = this.take(name);
    if (!isBytes(value, size)) throw this.damaged(`${name} is not a byte string of its length`);
    return value;
  }

  link(name: string): Cid {
    const value = this.take(name);
    if (!isLink(value)) throw this.damaged(`${name} is not a link`);
    return value;
  }

  takeLinkOrNull(name: string): Cid | null {
    const value = this.take(name);
    if (value !== null && !isLink(value)) throw this.damaged(`${name} is neither a link nor null`);
    return value;
  }

  list(name: string): unknown[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw this.damaged(`${name} is not a list`);
    return value;
  }

  /** To be called last: every field must have been taken. */
  end(): void {
    if (this.#fields.size > 0) throw this.damaged('fields that this version does not know');
  }

  damaged(rule: string, cause?: unknown): DagpacsError {
    const options = cause === undefined ? {} : { cause };
    return new DagpacsError('block-damaged', `${this.#what}: ${rule}`, { rule }, options);
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isBytes(value: unknown, size?: number): value is Uint8Array {
  return value instanceof Uint8Array && (size === undefined || value.length === size);
}

export function isLink(value: unknown): value is Cid {
  return value instanceof CID;
}
