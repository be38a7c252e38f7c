/** The part of dcmjs that is only its data dictionary (PS3.6 and private dictionaries); it ships no types. */
declare module 'dcmjs/dictionary' {
  interface Entry {
    tag: string;
    vr?: string;
    name?: string;
    vm?: string;
    version?: string;
  }
  /** Keys: `(gggg,eeee)`, `(gggg-gggg,eeee)`, `(gggg,"creator",ee)`. */
  export const dictionary: Record<string, Entry>;
}
