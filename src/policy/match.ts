/** Whether one rule speaks of one identity and one request. What of the request is compared is bounded, so that no caller makes rules slow. */
import type { Peer, SpiffeId } from "../id/index.ts";
import type { ClaimTest, HeaderTest, HostTest } from "./conditions.ts";
import { isCanonicalPath } from "./path.ts";
import { decodeSegment, matchesSegments, type SegmentPattern, splitSegments } from "./pattern.ts";
import { isCanonicalHost, isMethod } from "./request-line.ts";
import type { CheckedRule } from "./rules.ts";
import { fitsValue } from "./value.ts";

/** Characters of all values of one header, and values and parts of lists in it, that are looked at; more is doubt. */
const MAX_HEADER_LENGTH = 8_192;
const MAX_HEADER_PARTS = 64;
/** Values of one claim that are looked at; more is doubt. */
const MAX_CLAIM_VALUES = 256;

/** What a policy may look at beside the peer. */
export interface RequestFacts {
  /**
   * The HTTP method as the handler or upstream will see it, in capitals; empty for what has none, such as a TCP
   * connection. What is spelled otherwise counts as none.
   */
  readonly method: string;
  /** The canonical path, without the query; what is not canonical counts as none. */
  readonly path: string;
  /** The request's host, lower-case, without port and final dot; what is spelled otherwise counts as none. */
  readonly host?: string | undefined;
  /** Name of the gateway listener it came in by. */
  readonly listener?: string | undefined;
  /** Name of the gateway route it matched. */
  readonly route?: string | undefined;
  /**
   * Header values by name: lower case, every other character than a letter or digit as `-`, so that no second spelling
   * slips past. A name that is absent is a header that is absent.
   */
  readonly headers?: Readonly<Record<string, readonly string[] | undefined>> | undefined;
  /** When it is judged, in milliseconds since the epoch; the policy's clock when absent. */
  readonly now?: number | undefined;
}

/** What a rule asked that did not hold. */
export type Misfit =
  | "principal"
  | "via"
  | "methods"
  | "routes"
  | "hosts"
  | "path"
  | "time"
  | "headers"
  | "claims"
  | "mode";

/** One identity the caller has proven. */
export interface Identity {
  readonly via: "x509" | "jwt";
  readonly id: SpiffeId;
  /** Whether it is the peer's own, the one a rule without `via` allows. */
  readonly own: boolean;
}

/** The identities of a caller, its own first. */
export function identitiesOf(peer: Peer): readonly Identity[] {
  if (peer.via === "jwt") return [{ via: "jwt", id: peer.id, own: true }];
  const own: Identity = { via: "x509", id: peer.id, own: true };
  return peer.token === undefined ? [own] : [own, { via: "jwt", id: peer.token.id, own: false }];
}

/** One header of a request, worked out once for all rules. */
interface HeaderReading {
  readonly values: readonly string[];
  /** What a deny rule looks at: each value, and each part of it as a list, with and without the blanks around it. */
  readonly parts: readonly string[];
}

/** The host of a request, worked out once for all rules. */
interface HostReading {
  /** Undefined where it is not spelled in the one way that rules know. */
  readonly whole: string | undefined;
  /** Without its first label, with the dot; empty where it has but one. */
  readonly tail: string;
}

function readHost(host: string | undefined): HostReading {
  if (host === undefined || !isCanonicalHost(host)) return { whole: undefined, tail: "" };
  const dot = host.indexOf(".");
  return { whole: host, tail: dot > 0 ? host.slice(dot) : "" };
}

const BLANK = /[\s\0-\x20\x7f-\xa0\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]/;

/** Without everything around that some program takes for a blank. */
function trimmed(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && BLANK.test(text[start] as string)) start++;
  while (end > start && BLANK.test(text[end - 1] as string)) end--;
  return text.slice(start, end);
}

/** Reads the values of a header; undefined where there are none, or more than is looked at. */
function readHeader(values: readonly string[] | undefined): HeaderReading | undefined {
  if (!Array.isArray(values) || values.length === 0) return undefined;
  let length = 0;
  for (const value of values) if ((length += value.length) > MAX_HEADER_LENGTH) return undefined;
  const parts = new Set<string>(values);
  let count = 0;
  for (const value of values) {
    parts.add(trimmed(value));
    const list = value.split(",", MAX_HEADER_PARTS + 1);
    if ((count += list.length) > MAX_HEADER_PARTS) return undefined;
    for (const part of list) parts.add(trimmed(part));
  }
  return { values, parts: [...parts] };
}

/** A request on trial: what is worked out once for all rules. */
export class Trial {
  readonly facts: RequestFacts;
  readonly now: number;
  /** Claims of the identity that is looked at; undefined where it showed no token of its own. */
  claims: Readonly<Record<string, unknown>> | undefined;
  /** Segments captured by the rule that is looked at. */
  readonly captured: (string | undefined)[] = [];
  /** Whether there is a path to compare. */
  readonly hasPath: boolean;
  readonly #limit: number;
  readonly #token: Peer["token"];
  /** Headers that a rule asked for. */
  #headers: Map<string, HeaderReading | undefined> | undefined;
  #host: HostReading | undefined;
  #segments: readonly string[] | undefined;
  #decoded: readonly string[] | undefined;

  /** @param limit segments that any pattern can tell apart, and two more */
  constructor(peer: Peer | undefined, facts: RequestFacts, now: number, limit: number) {
    this.facts = facts;
    this.now = now;
    this.#token = peer?.token;
    this.hasPath = isCanonicalPath(facts.path);
    this.#limit = limit;
  }

  /** Whether the method is one that rules can name. */
  get hasMethod(): boolean {
    return isMethod(this.facts.method);
  }

  /** The host as all rules look at it. */
  get host(): HostReading {
    return (this.#host ??= readHost(this.facts.host));
  }

  /** Turns to one identity of the caller: a token's claims are said of the token's own ID and of no other. */
  turnTo(identity: Identity): void {
    this.claims = this.#token?.id.uri === identity.id.uri ? this.#token.claims : undefined;
  }

  /** A header as all rules look at it; undefined where there is none that could be judged. */
  header(name: string): HeaderReading | undefined {
    const read = (this.#headers ??= new Map());
    const known = read.get(name);
    if (known !== undefined || read.has(name)) return known;
    const { headers } = this.facts;
    const reading = headers !== undefined && Object.hasOwn(headers, name) ? readHeader(headers[name]) : undefined;
    read.set(name, reading);
    return reading;
  }

  /** Empties the slots before the next rule is looked at. */
  forget(count: number): void {
    for (let slot = 0; slot < count; slot++) this.captured[slot] = undefined;
  }

  /** Segments of the path as they are, or decoded, as deny rules look at them: `/a%3Ab` must not lead around `/a:b`. */
  segmentsFor(deny: boolean): readonly string[] {
    const segments = (this.#segments ??= splitSegments(this.facts.path, this.#limit));
    if (!deny) return segments;
    return (this.#decoded ??= this.facts.path.includes("%") ? segments.map(decodeSegment) : segments);
  }
}

/** True, false, or undefined where the request says nothing that could be judged. */
type Answer = boolean | undefined;

/** Doubt closes: where it is open whether a condition holds, a deny rule takes it and an allow rule does not. */
const holds = (answer: Answer, deny: boolean): boolean => (deny ? answer !== false : answer === true);

function fitsHost(test: HostTest, { host: { whole, tail } }: Trial): Answer {
  if (whole === undefined) return undefined;
  return test.exact.has(whole) || test.suffixes.has(tail);
}

/** An allow rule wants every value of the header to fit as it is, a deny rule any, alone or in a list. */
function fitsHeader(test: HeaderTest, deny: boolean, trial: Trial): Answer {
  const reading = trial.header(test.name);
  if (reading === undefined) return undefined;
  for (const value of deny ? reading.parts : reading.values) {
    // a loop: a closure for each rule costs more than most comparisons
    if (fitsValue(test, value, trial.captured) === deny) return deny;
  }
  return !deny;
}

const isScalar = (value: unknown): boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean" || typeof value === "bigint";

/** What the names lead to, as a list; undefined where they lead nowhere. */
function claimAt(path: readonly string[], claims: Trial["claims"]): readonly unknown[] | undefined {
  let found: unknown = claims;
  for (const name of path) {
    if (typeof found !== "object" || found === null || Array.isArray(found)) return undefined;
    if (!Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return Array.isArray(found) ? found : [found];
}

function fitsClaim(test: ClaimTest, deny: boolean, trial: Trial): Answer {
  const given = claimAt(test.path, trial.claims);
  if (given === undefined || given.length === 0 || given.length > MAX_CLAIM_VALUES) return undefined;
  let judged = true;
  for (const value of given) {
    if (!isScalar(value)) judged = false;
    else if (typeof value === "string" || deny) {
      if (fitsValue(test, String(value), trial.captured)) return true;
    } else if (test.scalars.has(value)) return true;
  }
  return judged ? false : undefined;
}

function fitsTime({ from, to }: { from: number; to: number }, now: number): Answer {
  return Number.isNaN(now) ? undefined : now >= from && now < to;
}

function fitsPath(pattern: SegmentPattern, deny: boolean, trial: Trial): boolean {
  const segments = trial.segmentsFor(deny);
  // many servers ignore a final slash, so that it must not lead around a deny rule
  const slash = deny && segments.length > 1 && segments[segments.length - 1] === "";
  return matchesSegments(pattern, segments, slash ? segments.length - 1 : segments.length, trial.captured);
}

/** Whether a rule means identities of this kind: an allow rule without `via` means the peer's own alone. */
export function meansKind(rule: CheckedRule, via: Identity["via"], own: boolean): boolean {
  return rule.via === undefined ? rule.deny || own : rule.via.has(via);
}

/** What of a rule does not hold, beside whom it speaks of; undefined when all of it does. */
export function misfitOf(rule: CheckedRule, trial: Trial): Misfit | undefined {
  const { deny, methods, routes, path, hosts, time, headers, claims } = rule;
  const { facts } = trial;
  if (methods !== undefined && !methods.has(facts.method)) {
    // a server answers HEAD by running its GET handler
    const alike = !trial.hasMethod || (facts.method === "HEAD" && methods.has("GET"));
    if (!deny || !alike) return "methods";
  }
  if (routes !== undefined && !holds(facts.route === undefined ? undefined : routes.has(facts.route), deny))
    return "routes";
  if (path !== undefined && !holds(trial.hasPath ? fitsPath(path, deny, trial) : undefined, deny)) return "path";
  if (hosts !== undefined && !holds(fitsHost(hosts, trial), deny)) return "hosts";
  if (time !== undefined && !holds(fitsTime(time, trial.now), deny)) return "time";
  // without a path nothing may be captured that values could be compared with: a deny rule takes them
  if (path !== undefined && !trial.hasPath && rule.captures > 0) return undefined;
  if (headers !== undefined) {
    for (const test of headers) if (!holds(fitsHeader(test, deny, trial), deny)) return "headers";
  }
  if (claims !== undefined) {
    for (const test of claims) if (!holds(fitsClaim(test, deny, trial), deny)) return "claims";
  }
  return undefined;
}
