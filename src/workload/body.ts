/** Response bodies, read within bounds. */

/** What is made ready for a body at first; most are shorter. */
const FIRST_BYTES = 16_384;

/**
 * Reads a body whole. Its pieces are copied as they come and none is kept: a sender may send it byte by byte, and each
 * piece would hold hundreds of times as much memory.
 *
 * @param maxBytes how much of it is read at most, decompressed
 * @returns undefined when there is more; the rest is not read
 */
export async function readBody(response: Response, maxBytes: number): Promise<Uint8Array | undefined> {
  let bytes = new Uint8Array(Math.min(maxBytes, FIRST_BYTES));
  let length = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) return bytes.slice(0, length);
    const end = length + value.length;
    if (end > maxBytes) {
      await reader?.cancel();
      return undefined;
    }
    if (end > bytes.length) {
      const larger = new Uint8Array(Math.min(maxBytes, Math.max(end, 2 * bytes.length)));
      larger.set(bytes);
      bytes = larger;
    }
    bytes.set(value, length);
    length = end;
  }
}
