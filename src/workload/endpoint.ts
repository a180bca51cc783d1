/** The Workload API's address, by the letter of the SPIFFE Workload Endpoint standard (§4). */
import { isIP } from "node:net";
import { SpiffeError } from "../base/errors.ts";
import { isDenoRefusal } from "../runtime/deno-permission.ts";
import { denoFlags } from "./deno-permission.ts";

/** Where a Workload API is served. */
export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** The environment variable that names the endpoint when nothing else does. */
export const ENDPOINT_VARIABLE = "SPIFFE_ENDPOINT_SOCKET";

/** Bytes a Unix socket path may have: `sun_path` holds 108, the last one is NUL. */
const PATH_BYTES = 107;
const EXAMPLE = "unix:///run/spire/agent/public/api.sock";
/** What RFC 3986 allows in a path: unreserved, sub-delimiters, `:`, `@`, `/` and percent-encoded bytes. */
const URI_PATH = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/;

function malformed(value: string, problem: string, corrected: string, hint?: string): SpiffeError {
  const shown = value.length > 200 ? `${value.slice(0, 200)}…` : value;
  const message = `The Workload API address ${JSON.stringify(shown)} ${problem}. Expected: ${corrected}`;
  return new SpiffeError("ERR_SPIFFE_ENDPOINT", message, { phase: "endpoint", hint });
}

/**
 * Parses the address of a Workload API: `unix:///absolute/path` or `tcp://<IP address>:<port>` (WE-09, WE-10, WE-11).
 *
 * @param value an RFC 3986 URI. `unix` takes an absolute path of at most 107 bytes and no authority; `tcp` takes an IP
 *   address and a port and no path. Neither takes user information, a query or a fragment.
 * @returns the address; percent-encoded bytes of a path are decoded
 * @throws SpiffeError `ERR_SPIFFE_ENDPOINT`; the sentence ends with the corrected form
 *
 * @example
 * ```ts
 * import { parseEndpoint } from "spiffe-edge/workload";
 * const endpoint = parseEndpoint("unix:///run/spire/agent/public/api.sock");
 * console.assert(endpoint.kind === "unix" && endpoint.path === "/run/spire/agent/public/api.sock");
 * ```
 */
export function parseEndpoint(value: string): Endpoint {
  if (value === "") throw malformed(value, "is empty", EXAMPLE);
  const [, scheme, rest = ""] = /^([A-Za-z][A-Za-z0-9+.-]*):(.*)$/s.exec(value) ?? [];
  switch (scheme?.toLowerCase()) {
    case "unix":
      return parseUnix(value, rest);
    case "tcp":
      return parseTcp(value, rest);
    case undefined:
      throw malformed(value, "has no scheme", value.startsWith("/") ? correctedPath(value) : EXAMPLE);
    default:
      throw malformed(value, `has the scheme ${scheme}, not unix or tcp`, EXAMPLE);
  }
}

/** Writes the address as the URI that {@link parseEndpoint} reads. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === "unix") return unixUri(endpoint.path);
  return `tcp://${endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

/**
 * Reads the address from `SPIFFE_ENDPOINT_SOCKET` (WE-08).
 *
 * @param env the variables, the process's own by default
 * @throws SpiffeError `ERR_SPIFFE_ENDPOINT` when it is unset, empty or malformed; `ERR_SPIFFE_PERMISSION` when Deno
 *   does not let the program read it
 */
export function endpointFromEnvironment(env?: Readonly<Record<string, string | undefined>>): Endpoint {
  let value: string | undefined;
  try {
    value = (env ?? process.env)[ENDPOINT_VARIABLE];
  } catch (cause) {
    if (!isDenoRefusal(cause)) throw cause;
    const message = `Deno does not let this program read ${ENDPOINT_VARIABLE}. Run it with ${denoFlags()}`;
    throw new SpiffeError("ERR_SPIFFE_PERMISSION", message, { phase: "endpoint", cause });
  }
  if (value === undefined || value === "") {
    const message = `No Workload API address: ${ENDPOINT_VARIABLE} is ${value === undefined ? "not set" : "empty"}. Expected: ${EXAMPLE}`;
    const hint = "Set it to the agent's public socket, or pass { socket }.";
    throw new SpiffeError("ERR_SPIFFE_ENDPOINT", message, { phase: "endpoint", hint });
  }
  return parseEndpoint(value);
}

/** A path as a `unix` URI, with the bytes a URI may not carry percent-encoded. */
function unixUri(path: string): string {
  const encoded = encodeURIComponent(path).replace(/%(2F|3A|40|24|26|2B|2C|3B|3D)/g, (byte) =>
    decodeURIComponent(byte),
  );
  return `unix://${encoded}`;
}

/** What may have been meant by something that is no right path, as a URI that is accepted. */
function correctedUnix(path: string): string {
  const [meant = ""] = path.split(/[?#]/, 1);
  if (meant === "") return EXAMPLE;
  let plain = meant;
  try {
    plain = decodeURIComponent(meant);
  } catch {
    // A percent sign that stands for itself.
  }
  return correctedPath(plain);
}

/** A plain path, in which no character has a meaning, as a URI that is accepted. */
function correctedPath(path: string): string {
  const absolute = `${path.startsWith("/") ? "" : "/"}${path}`.replaceAll("\0", "");
  // Half a character has no encoding.
  return byteLength(absolute) > PATH_BYTES || !absolute.isWellFormed() ? EXAMPLE : unixUri(absolute);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function parseUnix(value: string, rest: string): Endpoint {
  const path = rest.startsWith("//") ? rest.slice(2) : rest;
  const corrected = correctedUnix(path);
  // What stands between // and the next slash is an authority; mostly a slash was forgotten.
  if (path !== rest && !path.startsWith("/")) {
    const isEmpty = /^(?:$|[?#])/.test(path);
    throw malformed(value, isEmpty ? "has no path" : "has an authority, which unix does not take", corrected);
  }
  if (/[?#]/.test(path)) throw malformed(value, "has a query or fragment, which unix does not take", corrected);
  if (!path.startsWith("/")) throw malformed(value, "has no absolute path", corrected);
  if (!URI_PATH.test(path)) throw malformed(value, "has a character that has to be percent-encoded", corrected);
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw malformed(value, "has percent-encoded bytes that are not UTF-8", EXAMPLE);
  }
  if (decoded.includes("\0")) throw malformed(value, "has a NUL byte in its path", corrected);
  const bytes = byteLength(decoded);
  if (bytes > PATH_BYTES) {
    const hint = "The limit is the operating system's; put the socket into a directory with a shorter path.";
    throw malformed(value, `has a path of ${bytes} bytes, more than a socket's ${PATH_BYTES}`, EXAMPLE, hint);
  }
  return { kind: "unix", path: decoded };
}

function parseTcp(value: string, rest: string): Endpoint {
  const [, authority = "", tail = ""] = /^\/\/([^/?#]*)(.*)$/s.exec(rest) ?? [];
  const [, user, host = "", port] = /^(.*@)?(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(authority) ?? [];
  const address = host.startsWith("[") ? host.slice(1, -1) : host;
  // A zone identifier (%eth0) is no part of an IP address in a URI; brackets belong to version 6 alone.
  const isAddress = !address.includes("%") && isIP(address) === (host.startsWith("[") ? 6 : 4);
  const validPort = port !== undefined && /^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535;
  const corrected = `tcp://${isAddress ? host : "127.0.0.1"}:${validPort ? port : "8081"}`;
  if (authority === "") throw malformed(value, "has no IP address and port", corrected);
  if (user !== undefined) throw malformed(value, "has user information", corrected);
  if (!isAddress) throw malformed(value, "has a host that is not an IP address", corrected);
  if (port === undefined) throw malformed(value, "has no port", corrected);
  if (!validPort) throw malformed(value, "has a port that is not a number from 1 to 65535", corrected);
  if (tail !== "") throw malformed(value, "has a path, query or fragment, which tcp does not take", corrected);
  return { kind: "tcp", host: address, port: Number(port) };
}
