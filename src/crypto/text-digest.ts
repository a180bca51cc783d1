/** SHA-256 of a text: the names under which texts are found again that must not be kept. */
import { encodeBase64 } from "../encoding/base64.ts";
import { nodeCrypto } from "./native/node.ts";

const encoder = new TextEncoder();
// One call of the runtime takes about 1 us for a token; WebCrypto about 50, on another thread.
const native = bunDigest() ?? nodeDigest();

/** Of a busy server on Bun, its own class takes 0.4 us for a token, `node:crypto` 1.0. */
function bunDigest(): ((text: string) => string) | undefined {
  const { Bun } = globalThis as { Bun?: { SHA256?: { hash?(text: string, encoding: string): string } } };
  const own = Bun?.SHA256;
  return typeof own?.hash === "function" ? (text) => own.hash!(text, "base64") : undefined;
}

function nodeDigest(): ((text: string) => string) | undefined {
  const hash = nodeCrypto()?.hash;
  return hash && ((text) => hash("sha256", text, "base64"));
}

/** SHA-256 of the text's UTF-8 octets in base64: at once where the runtime does so, else by WebCrypto. */
export function sha256Text(text: string): string | Promise<string> {
  return native === undefined ? webcryptoDigest(text) : native(text);
}

/** The same by WebCrypto alone. */
export async function webcryptoDigest(text: string): Promise<string> {
  return encodeBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text))));
}
