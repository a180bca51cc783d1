/** A request and its caller as people and logs write them: the names of the access log, judged as the gateway would. */
import { accept, type Refusal, refuse, type Verdict } from "../base/index.ts";
import { type Peer, SpiffeId } from "../id/index.ts";
import { headerName } from "./conditions.ts";
import { formatFaults, formatIssue, quoted } from "./issue.ts";
import type { RequestFacts } from "./match.ts";
import { checkKeys, isRecord, type Path, type Report, readInstant } from "./read.ts";
import { canonicalAuthority, canonicalTarget, isServedMethod } from "./request-line.ts";

/** A request to judge, as it is written. */
export interface InputText {
  /** The caller's own SPIFFE ID; absent for a caller without an identity. */
  readonly peer?: string;
  /** How it was proven; `x509` unless said. */
  readonly via?: "x509" | "jwt";
  /** The SPIFFE ID of a token beside a certificate. */
  readonly token?: string;
  /** Claims of the token; with them and neither `via: jwt` nor `token`, the token is the peer's own beside its certificate. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly method?: string;
  /** The raw path, with or without a query. */
  readonly path?: string;
  /** As the caller would send it, with or without a port. */
  readonly host?: string;
  readonly listener?: string;
  readonly route?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** When, with its zone. */
  readonly time?: string;
}

/** Names of an input. */
export const INPUT_KEYS = [
  "peer",
  "via",
  "token",
  "claims",
  "method",
  "path",
  "host",
  "listener",
  "route",
  "headers",
  "time",
] as const;

/** A caller and a request, or why the gateway would not even ask the policy. */
export interface Input {
  readonly peer: Peer | undefined;
  readonly facts: RequestFacts;
  /** Set where method, path or host is refused before the policy is asked (S-22, S-23). */
  readonly refused?: Refusal;
}

const METHOD = /^[A-Z]+(?:-[A-Z]+)*$/;

function readPeer(input: Record<string, unknown>, path: Path, report: Report): Peer | undefined {
  const { peer, via = "x509", token, claims } = input;
  const read = (value: unknown, key: string): SpiffeId | undefined => {
    const parsed = typeof value === "string" ? SpiffeId.safeParse(value) : undefined;
    if (parsed?.ok === true && parsed.value.path !== "") return parsed.value;
    const why = parsed?.ok === false ? parsed.message : undefined;
    report({
      path: [...path, key],
      what: `${quoted(value)} is no SPIFFE ID of a workload`,
      why,
      expected: '"spiffe://<domain>/<path>"',
    });
    return undefined;
  };
  if (peer === undefined) {
    for (const key of ["via", "token", "claims"]) {
      if (input[key] !== undefined)
        report({ path: [...path, key], what: "belongs to a caller with an identity", expected: "peer beside it" });
    }
    return undefined;
  }
  if (via !== "x509" && via !== "jwt") {
    report({ path: [...path, "via"], what: `${quoted(via)} is no kind of identity`, expected: "x509 or jwt" });
  }
  if (via === "jwt" && token !== undefined) {
    report({
      path: [...path, "token"],
      what: "is the peer itself where via is jwt",
      expected: "peer and claims alone",
    });
  }
  if (claims !== undefined && !isRecord(claims))
    report({ path: [...path, "claims"], what: "is not a block of claims", expected: "{ tenant: acme }" });
  const id = read(peer, "peer");
  const tokenId = token === undefined ? id : read(token, "token");
  if (id === undefined || tokenId === undefined) return undefined;
  const expiresAt = new Date(8.64e15);
  const shown = { id: tokenId, expiresAt, audience: [], claims: isRecord(claims) ? claims : {} };
  if (via === "jwt") return { via, id, expiresAt, token: shown };
  return token === undefined && claims === undefined
    ? { via: "x509", id, expiresAt }
    : { via: "x509", id, expiresAt, token: shown };
}

function readHeaders(value: unknown, path: Path, report: Report): Record<string, string[]> | undefined {
  if (value === undefined) return undefined;
  const headers: Record<string, string[]> = Object.create(null);
  if (!isRecord(value)) {
    report({ path, what: "is not a block of headers", expected: "{ x-stage: prod }" });
    return undefined;
  }
  for (const [name, given] of Object.entries(value)) {
    const list = Array.isArray(given) ? given : [given];
    if (!list.every((one) => typeof one === "string"))
      report({ path: [...path, name], what: "is not text", expected: "a value, or a list of values" });
    else (headers[headerName(name)] ??= []).push(...list);
  }
  return headers;
}

/**
 * Reads an input.
 *
 * @param defaults what holds where the input says nothing
 */
export function readInput(input: unknown, path: Path, report: Report): Input | undefined {
  const issues: unknown[] = [];
  const tell: Report = (issue) => {
    issues.push(issue);
    report(issue);
  };
  if (!isRecord(input)) {
    tell({ path, what: "is no request", expected: '{ peer: "spiffe://<domain>/<path>", method: GET, path: /orders }' });
    return undefined;
  }
  checkKeys(input, path, INPUT_KEYS, tell);
  const peer = readPeer(input, path, tell);
  const text = (key: "host" | "listener" | "route"): string | undefined => {
    const value = input[key];
    if (value === undefined || (typeof value === "string" && value !== "")) return value;
    tell({ path: [...path, key], what: "is not text", expected: "a name" });
    return undefined;
  };
  const { method = "GET", path: raw = "/" } = input;
  if (typeof method !== "string" || !METHOD.test(method))
    tell({
      path: [...path, "method"],
      what: `${quoted(method)} is no HTTP method`,
      expected: "capital letters, as in GET",
    });
  if (typeof raw !== "string") tell({ path: [...path, "path"], what: "is not text", expected: "/orders/7" });
  const now = input.time === undefined ? undefined : readInstant(input.time, [...path, "time"], tell);
  const stated = text("host");
  const facts = {
    listener: text("listener"),
    route: text("route"),
    headers: readHeaders(input.headers, [...path, "headers"], tell),
    now,
  };
  if (issues.length > 0) return undefined;
  const target = canonicalTarget(String(raw));
  const authority = stated === undefined ? undefined : canonicalAuthority(stated);
  const judged = target.ok ? target.value.path : "/";
  const whole = { peer, facts: { method: String(method), path: judged, host: authority?.host, ...facts } };
  if (!isServedMethod(whole.facts.method))
    return { ...whole, refused: refuse("request.method", "The request's method is not one that is served") };
  if (!target.ok) return { ...whole, refused: target };
  if (stated === undefined || authority !== undefined) return whole;
  return {
    ...whole,
    refused: refuse("request.authority", "The request's host is not a plain host name with an optional port"),
  };
}

/** Reads one input; the refusal names every fault. */
export function safeReadInput(input: unknown): Verdict<Input> {
  const faults: string[] = [];
  const read = readInput(input, [], (issue) => faults.push(formatIssue(issue)));
  return read === undefined ? refuse("encoding.json", formatFaults(faults)) : accept(read);
}
