/** The beginning of a request body, kept while it is small, so that another try can begin with it. */

/** Bytes that are kept of one request. */
const MAX_BYTES = 65_536;

/** What has been read of a body. */
export class Replay {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #whole: boolean;

  /** @param wanted whether anything is to be kept at all */
  constructor(wanted: boolean) {
    this.#whole = wanted;
  }

  /** Whether everything that was read is here. */
  get whole(): boolean {
    return this.#whole;
  }

  get chunks(): readonly Uint8Array[] {
    return this.#chunks;
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength;
    if (this.#whole && this.#bytes <= MAX_BYTES) this.#chunks.push(chunk);
    else this.drop();
  }

  /** Gives it up: no further try can come. */
  drop(): void {
    this.#whole = false;
    this.#chunks.length = 0;
  }
}
