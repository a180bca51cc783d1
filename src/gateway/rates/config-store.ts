/** `limits.perIdentity.store` of a gateway file: where replicas count together. */
import { isAbsolute } from "node:path";
import { readId } from "../../policy/principals.ts";
import type { Path, Reader } from "../config-reader.ts";
import { isLoopback } from "../loopback.ts";
import { shownUrl } from "../upstream-url.ts";

/** The store as it is written. */
export interface RateStoreInput {
  /** `rediss://host:port` with `id`, `redis://` on loopback, or `unix:/path`; port 6379 by default. */
  readonly url: string;
  /** The SPIFFE ID that must answer; needed for rediss, refused elsewhere. */
  readonly id?: string;
  /** Allows plain redis to another machine: who is on the way reads the password and changes counts. */
  readonly unsafePlainStore?: true;
  /** User of the store's access list; the default user without it. */
  readonly username?: string;
  /** File with the password, by absolute path; read again for each connection. */
  readonly passwordFile?: string;
  /** Begins every key; replicas with the same prefix count together. `spiffe-edge:` by default. */
  readonly prefix?: string;
  /** Time that a request waits for the store; 50ms by default, at most 1s. */
  readonly timeout?: string;
}

/** A store to count in. */
export interface RateStoreConfig {
  /** As written; it can hold no password. */
  readonly url: string;
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  /** The SPIFFE ID that must answer; undefined for plaintext. */
  readonly id: string | undefined;
  /** Whether it is reached in plaintext over a network. */
  readonly unsafePlain: boolean;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly prefix: string;
  readonly timeoutMs: number;
}

const KEYS = ["url", "id", "unsafePlainStore", "username", "passwordFile", "prefix", "timeout"];
const URLS = "rediss://host:port with id, redis://127.0.0.1:port or unix:/path";
const NETWORK =
  /^(redis|rediss):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::([1-9][0-9]{0,4}))?\/?$/;
const UNIX = /^unix:(?:\/\/)?(\/[^\0?#]*[^\0?#/])$/;
const PREFIX = /^[A-Za-z0-9:._-]{1,64}$/;
const USER = /^[A-Za-z0-9._-]{1,128}$/;
const MAX_TIMEOUT_MS = 1_000;

type Place = Pick<RateStoreConfig, "url" | "socketPath" | "host" | "port"> & { tls: boolean; remote: boolean };

function placeOf(url: unknown): Place | undefined {
  if (typeof url !== "string") return undefined;
  const socketPath = UNIX.exec(url)?.[1];
  if (socketPath !== undefined) return { url, socketPath, tls: false, remote: false };
  const [, scheme, written = "", port = "6379"] = NETWORK.exec(url) ?? [];
  if (scheme === undefined || Number(port) > 65_535) return undefined;
  const host = written.replace(/^\[|\]$/g, "");
  const tls = scheme === "rediss";
  return { url, host, port: Number(port), tls, remote: !tls && !isLoopback(host) };
}

/** A text of a form; undefined where there is none. */
function textOf(read: Reader, value: unknown, path: Path, form: RegExp, expected: string): string | undefined {
  const text = read.string(value, path, expected);
  if (text === undefined || form.test(text)) return text;
  return read.report(path, `${JSON.stringify(text)} does not fit`, undefined, expected);
}

/** Reads the block; undefined where it is absent or says no place. */
export function readRateStore(read: Reader, value: unknown, path: Path): RateStoreConfig | undefined {
  if (value === undefined) return undefined;
  const block = read.object(value, path, KEYS);
  if (block.url === undefined) return read.report(path, 'needs "url"', undefined, `url: ${URLS}`);
  const place = placeOf(block.url);
  if (place === undefined)
    read.report([...path, "url"], `${shownUrl(block.url)} is no address of a store`, undefined, URLS);
  const written = read.string(block.id, [...path, "id"], '"spiffe://<domain>/<path>"');
  const id = written === undefined ? undefined : readId(written, [...path, "id"], (issue) => read.issues.push(issue));
  checkProof(read, block, place, path);
  const username = textOf(read, block.username, [...path, "username"], USER, "letters, digits, dots or dashes");
  const passwordFile = read.string(block.passwordFile, [...path, "passwordFile"], "/run/secrets/valkey");
  if (passwordFile !== undefined && !isAbsolute(passwordFile)) {
    const why = "it would depend on where the process is started";
    read.report([...path, "passwordFile"], `"${passwordFile}" is not absolute`, why, "/run/secrets/valkey");
  }
  if (block.username !== undefined && block.passwordFile === undefined)
    read.report([...path, "username"], 'needs "passwordFile"', "a name alone opens nothing", "both, or neither");
  const prefix = textOf(read, block.prefix, [...path, "prefix"], PREFIX, "up to 64 letters, digits, : . _ or -");
  const timeoutMs = read.duration(block.timeout, [...path, "timeout"], 50, MAX_TIMEOUT_MS);
  if (place === undefined) return undefined;
  const { tls: _, remote: unsafePlain, ...where } = place;
  return { ...where, id, unsafePlain, username, passwordFile, prefix: prefix ?? "spiffe-edge:", timeoutMs };
}

/** Who answers is proven by SPIFFE ID, or stays on this machine, or is taken for granted by name. */
function checkProof(
  read: Reader,
  { id, unsafePlainStore: unsafe }: Readonly<Record<string, unknown>>,
  place: Place | undefined,
  path: Path,
): void {
  const at = [...path, "unsafePlainStore"];
  if (unsafe !== undefined && unsafe !== true) read.report(at, "is not true", undefined, "true, or leave it out");
  if (place === undefined) return;
  if (place.tls && id === undefined) {
    const why = "the SPIFFE ID that must answer; host names prove nothing here";
    read.report(path, `rediss needs "id", ${why}`, undefined, 'id: "spiffe://<domain>/<path>"');
  } else if (!place.tls && id !== undefined) {
    read.report(
      [...path, "id"],
      "cannot be checked in plaintext",
      "nothing proves who answers",
      "url: rediss://host:port",
    );
  } else if (place.remote && unsafe !== true) {
    const why = "on the way everybody can read the password and change counts";
    read.report([...path, "url"], "plaintext leaves this machine", why, "rediss with id, or unsafePlainStore: true");
  } else if (!place.remote && unsafe === true) {
    read.report(at, "is not needed here", "it would hide a later mistake", "leave it out");
  }
}
