/** What all that send JWT-SVIDs have in common: where a token may go, and which one is tried after a refusal. */
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import type { JwtSvid } from "../jwt/index.ts";
import type { JwtFetchOptions, JwtSvidSource } from "./jwt-source.ts";

/** Hosts that are this one. The transport of a Unix socket seems to be one of them, too. */
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Refuses to send a token in plaintext to another host (S-18, S-20), or beside a password in the URL.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`
 */
export function checkTokenTarget({ protocol, hostname, origin, username, password }: URL): void {
  if (protocol !== "https:" && !(protocol === "http:" && LOOPBACK.has(hostname))) {
    const where = origin === "null" ? protocol : origin;
    throw new SpiffeError("ERR_SPIFFE_USAGE", `A JWT-SVID is not sent to ${where}: it is neither TLS nor this host`);
  }
  if (username === "" && password === "") return;
  throw new SpiffeError(
    "ERR_SPIFFE_USAGE",
    `A JWT-SVID is not sent to ${origin} with a user name or password beside it`,
  );
}

/**
 * Another token than the one that was just refused: one that was renewed meanwhile, else a fresh one. None when the agent
 * has no other, or can not be asked; the refusal then stands.
 */
export async function otherToken(
  jwt: JwtSvidSource,
  request: JwtFetchOptions,
  refused: JwtSvid,
): Promise<JwtSvid | undefined> {
  try {
    const held = await jwt.fetch(request);
    if (held.token !== refused.token) return held;
    const fresh = await jwt.fetch({ ...request, fresh: true });
    return fresh.token === refused.token ? undefined : fresh;
  } catch (error) {
    if (isSpiffeError(error, "ERR_SPIFFE_ABORTED")) throw error;
    return undefined;
  }
}
