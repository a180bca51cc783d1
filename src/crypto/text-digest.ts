/** SHA-256 of a text: the names under which texts are found again that must not be kept. */
import { encodeBase64 } from "../encoding/base64.ts";
import { nodeCrypto } from "./native/node.ts";

const encoder = new TextEncoder();
// One call of the runtime takes about 1 us for a token; WebCrypto about 50, on another thread.
const native = nodeCrypto()?.hash;

/** SHA-256 of the text's UTF-8 octets in base64: at once where the runtime has `node:crypto`, else by WebCrypto. */
export function sha256Text(text: string): string | Promise<string> {
  return native === undefined ? webcryptoDigest(text) : native("sha256", text, "base64");
}

/** The same by WebCrypto alone. */
export async function webcryptoDigest(text: string): Promise<string> {
  return encodeBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text))));
}
