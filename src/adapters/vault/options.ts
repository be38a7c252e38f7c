/** Options of the file vault. */
export interface VaultOptions {
  /** Directory of the key files; made with mode 0700. */
  directory: string;
}
