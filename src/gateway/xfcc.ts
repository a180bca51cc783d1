/** `x-forwarded-client-cert`: who called before this hop, in Envoy's grammar; read from named peers alone (S-21). */
import { createHash } from "node:crypto";
import { accept, refuse, type Verdict } from "../base/index.ts";
import { encodePem } from "../encoding/index.ts";
import type { Peer } from "../id/index.ts";
import type { TlsIdentity } from "../tls/index.ts";
import { chainOf } from "../tls/judge.ts";
import { type Field, XFCC_FIELD } from "./headers.ts";

/** Whom to believe, and what to say. */
export interface XfccConfig {
  /** SPIFFE IDs whose own field is read and goes on. */
  readonly from: readonly string[];
  /** Whether the caller's certificates are part of what is said. */
  readonly chain: boolean;
}

/** One hop: keys as this package spells them, and values, in order. */
export type XfccElement = readonly (readonly [key: string, value: string])[];

const KEYS = ["By", "Hash", "Cert", "Chain", "Subject", "URI", "DNS"];
/** Characters of the whole field, and hops in it. */
const MAX_LENGTH = 65_536;
const MAX_ELEMENTS = 32;

const bad = (message: string) => refuse("request.client-cert", `x-forwarded-client-cert ${message}`);

/**
 * Reads the field: hops apart by commas, `key=value` pairs apart by semicolons, values with `,`, `;`, `=` or `"` in double
 * quotes with `\` before `"` and `\`. A key that is unknown, twice in a hop (`URI` and `DNS` may be) or without a value refuses.
 */
export function parseXfcc(text: string): Verdict<XfccElement[]> {
  if (text.length > MAX_LENGTH) return bad("is too long");
  const elements: XfccElement[] = [];
  let pairs: (readonly [string, string])[] = [];
  let at = 0;
  for (;;) {
    const equals = text.indexOf("=", at);
    const written = equals < 0 ? text.slice(at) : text.slice(at, equals);
    const key = KEYS.find((known) => known.toLowerCase() === written.toLowerCase());
    if (equals < 0 || key === undefined) return bad("names a key that is none");
    if (key !== "URI" && key !== "DNS" && pairs.some(([other]) => other === key))
      return bad(`has ${key} twice in a hop`);
    at = equals + 1;
    let value = "";
    if (text[at] === '"') {
      at++;
      while (at < text.length && text[at] !== '"') {
        if (text[at] === "\\") at++;
        const character = text[at] ?? "";
        if (!/^[\x20-\x7e]$/.test(character)) return bad("holds a character that is not allowed there");
        value += character;
        at++;
      }
      if (text[at] !== '"') return bad("has a quote without its end");
      at++;
    } else {
      const start = at;
      while (at < text.length && !/[,;]/.test(text[at] as string)) at++;
      value = text.slice(start, at);
      if (!/^[\x21-\x7e]*$/.test(value) || /["=\\]/.test(value)) return bad("has a value that needs quotes");
    }
    pairs.push([key, value]);
    if (at < text.length && text[at] !== ";" && text[at] !== ",") return bad("goes on behind a quote");
    const more = text[at] === ";";
    if (!more) {
      elements.push(pairs);
      pairs = [];
      if (elements.length > MAX_ELEMENTS) return bad("has too many hops");
    }
    if (at >= text.length) return accept(elements);
    at++;
    // several fields are joined by a comma and a blank
    if (!more) while (text[at] === " ") at++;
  }
}

/** Writes hops in the form that {@link parseXfcc} reads. */
export function formatXfcc(elements: readonly XfccElement[]): string {
  const quoted = (value: string) => (/[,;="\\ ]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value);
  return elements.map((pairs) => pairs.map(([key, value]) => `${key}=${quoted(value)}`).join(";")).join(",");
}

/** The hop of each caller, by what is fixed of it. */
const hops = new WeakMap<object, { readonly hash: string; readonly chain: string }>();

/** Writes the field of the request to the upstream. */
export class Xfcc {
  readonly #config: XfccConfig;
  readonly #identity: TlsIdentity;

  constructor(config: XfccConfig, identity: TlsIdentity) {
    this.#config = config;
    this.#identity = identity;
  }

  /**
   * The field's value: what a named peer says, then the caller itself, where it showed a certificate.
   *
   * @returns undefined for callers without a certificate; refuses `request.client-cert` for what a named peer cannot mean
   */
  value(peer: Peer | undefined, received: readonly Field[]): Verdict<string | undefined> {
    const certificates = peer?.via === "x509" ? chainOf(peer) : undefined;
    if (peer === undefined || certificates === undefined) return accept(undefined);
    let before: XfccElement[] = [];
    if (this.#config.from.includes(peer.id.uri)) {
      // one spelling: others are stripped from everybody
      const said = received.filter(([name]) => name.toLowerCase() === XFCC_FIELD).map(([, value]) => value);
      const parsed = said.length === 0 ? accept([]) : parseXfcc(said.join(", "));
      if (!parsed.ok) return parsed;
      before = parsed.value;
    }
    let hop = hops.get(peer);
    if (hop === undefined) {
      const hash = createHash("sha256")
        .update(certificates[0] as Uint8Array)
        .digest("hex");
      const chain = encodeURIComponent(certificates.map((der) => encodePem("CERTIFICATE", der)).join(""));
      hop = { hash, chain };
      hops.set(peer, hop);
    }
    const own: (readonly [string, string])[] = [
      ["By", this.#identity.x509.x509Svid().id.uri],
      ["Hash", hop.hash],
      ["URI", peer.id.uri],
    ];
    if (this.#config.chain) own.push(["Chain", hop.chain]);
    return accept(formatXfcc([...before, own]));
  }
}
