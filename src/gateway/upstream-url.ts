/** Addresses of upstreams. */
import { isLoopback } from "./loopback.ts";

/** Where an upstream is dialled. */
export interface UpstreamTarget {
  /** As written, for logs. */
  readonly url: string;
  readonly tls: boolean;
  /** Whether it is plaintext that leaves this machine. */
  readonly plainRemote: boolean;
  /** Path of a unix socket; host and port otherwise. */
  readonly socketPath?: string;
  readonly hostname?: string;
  readonly port?: number;
  /** The `Host` it is asked by. */
  readonly authority: string;
}

/** Reads `https://host:port`, `http://host:port` or `unix:/path`; undefined for anything else, also for a path or query. */
export function parseUpstreamUrl(text: unknown): UpstreamTarget | undefined {
  if (typeof text !== "string") return undefined;
  const unix = /^unix:(?:\/\/)?(\/[^\0?#]*[^\0?#/])$/.exec(text);
  if (unix?.[1] !== undefined) {
    return { url: text, tls: false, plainRemote: false, socketPath: unix[1], authority: "localhost" };
  }
  if (!/^https?:\/\/[^/?#@\\\s]+\/?$/.test(text)) return undefined;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  const tls = url.protocol === "https:";
  const port = url.port === "" ? (tls ? 443 : 80) : Number(url.port);
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  return {
    url: text,
    tls,
    plainRemote: !tls && !isLoopback(hostname),
    hostname,
    port,
    authority: url.host,
  };
}

/** A faulty address for a message: as written, without what may be a password or token, which would reach logs. */
export function shownUrl(url: unknown): string {
  const text = JSON.stringify(url) ?? String(url);
  return text.replace(/\/\/.*@/s, "//…@").replace(/[?#].*(?=")/s, "?…");
}
