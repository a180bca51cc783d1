/**
 * The rules as the documentation words them, one after the other: no index, no compiled form, patterns as regular
 * expressions. Slow and plain, so that the policy can be compared with it.
 */
import type { Peer, SpiffeId } from "../id/index.ts";
import type { ClaimRule, PolicyRule, RequestFacts } from "./index.ts";

interface Shown {
  readonly via: "x509" | "jwt";
  readonly id: SpiffeId;
}

type Captures = Record<string, string>;

/** A segment pattern as a regular expression; `{name}` becomes a named group, once. */
function expression(pattern: string): RegExp {
  const seen = new Set<string>();
  const body = pattern
    .replace(/\/\*\*$/, "\0")
    .replace(/[.+?^$()|[\]\\]/g, "\\$&")
    .replace(/\/\*(?=\/|\0|$)/g, "/[^/]+")
    .replace(/\{(\w+)\}/g, (_, name: string) => {
      if (seen.has(name)) return `\\k<${name}>`;
      seen.add(name);
      return `(?<${name}>[^/]+)`;
    })
    .replace("\0", "(?:/.*)?");
  return new RegExp(`^${body}$`);
}

const fill = (text: string, captures: Captures) => text.replace(/\{(\w+)\}/g, (whole, name) => captures[name] ?? whole);

function valueFits(pattern: string, value: string, captures: Captures): boolean {
  const text = fill(pattern, captures);
  return text.endsWith("*") ? value.startsWith(text.slice(0, -1)) : value === text;
}

/** true, false, or undefined: nothing to judge. */
type Answer = boolean | undefined;

function headerAnswer(
  patterns: readonly string[],
  given: readonly string[] | undefined,
  deny: boolean,
  captures: Captures,
): Answer {
  if (given === undefined || given.length === 0) return undefined;
  const fits = (value: string) => patterns.some((pattern) => valueFits(pattern, value, captures));
  if (!deny) return given.every(fits);
  return given.flatMap((value) => [value, value.trim(), ...value.split(",").map((part) => part.trim())]).some(fits);
}

function claimAnswer(rule: ClaimRule, claim: unknown, deny: boolean, captures: Captures): Answer {
  if (typeof rule === "object" && !Array.isArray(rule)) {
    const answers = Object.entries(rule).map(([name, inner]) => {
      const block = typeof claim === "object" && claim !== null && !Array.isArray(claim) ? claim : {};
      const found = Object.hasOwn(block, name) ? (block as Record<string, unknown>)[name] : undefined;
      return claimAnswer(inner, found, deny, captures);
    });
    if (answers.some((answer) => (deny ? answer === false : answer !== true))) return false;
    return true;
  }
  const wanted = (Array.isArray(rule) ? rule : [rule]) as (string | number | boolean)[];
  const given = Array.isArray(claim) ? claim : [claim];
  const scalars = given.filter((one) => ["string", "number", "boolean"].includes(typeof one)) as (
    | string
    | number
    | boolean
  )[];
  const fits = (one: string | number | boolean) =>
    wanted.some((want) => {
      if (typeof want === "string") return (deny || typeof one === "string") && valueFits(want, String(one), captures);
      return deny ? String(one) === String(want) : one === want;
    });
  if (scalars.some(fits)) return true;
  return given.length > 0 && scalars.length === given.length ? false : undefined;
}

function holdsFor(
  rule: PolicyRule,
  deny: boolean,
  shown: Shown | undefined,
  own: boolean,
  peer: Peer | undefined,
  facts: RequestFacts,
): boolean {
  const who = (rule.deny ?? rule.allow)!;
  const sure = (answer: Answer) => (deny ? answer !== false : answer === true);
  const bare = (path: string) => (deny && path.length > 1 ? path.replace(/\/$/, "") : path);
  let candidates: Captures[] = [];
  if (shown === undefined) candidates = who.anonymous === true ? [{}] : [];
  else if (who.via === undefined ? deny || own : who.via.includes(shown.via)) {
    if (who.ids !== undefined) {
      candidates = who.ids.flatMap((id) => {
        const found = expression(id).exec(shown.id.uri);
        return found === null ? [] : [{ ...found.groups }];
      });
    } else if (who.trustDomains !== undefined)
      candidates = who.trustDomains.includes(shown.id.trustDomain.name) ? [{}] : [];
    else candidates = who.via === undefined ? [] : [{}];
  }
  return candidates.some((captures) => {
    if (rule.methods !== undefined && !rule.methods.includes(facts.method)) {
      const alike = facts.method === "" || (facts.method === "HEAD" && rule.methods.includes("GET"));
      if (!(deny && alike)) return false;
    }
    if (rule.routes !== undefined && !sure(facts.route === undefined ? undefined : rule.routes.includes(facts.route)))
      return false;
    if (rule.hosts !== undefined) {
      const host = facts.host;
      const fits = (pattern: string) =>
        pattern.startsWith("*.")
          ? new RegExp(`^[^.]+\\.${pattern.slice(2).replaceAll(".", "\\.")}$`).test(host!)
          : pattern === host;
      if (!sure(host === undefined ? undefined : rule.hosts.some(fits))) return false;
    }
    if (rule.path !== undefined) {
      const path = facts.path.startsWith("/") ? bare(facts.path) : undefined;
      const seen = (text: string) => (deny ? decodeURIComponent(text) : text);
      const fits = path === undefined ? undefined : expression(seen(fill(bare(rule.path), captures))).test(seen(path));
      if (!sure(fits)) return false;
    }
    if (rule.time !== undefined) {
      const now = facts.now!;
      const { from = "1970-01-01T00:00:00Z", to = "9999-01-01T00:00:00Z" } = rule.time;
      if (!sure(Number.isNaN(now) ? undefined : now >= Date.parse(from) && now < Date.parse(to))) return false;
    }
    const compares = JSON.stringify([who.ids, rule.path]).includes("{");
    if (rule.path !== undefined && !facts.path.startsWith("/") && compares) return true;
    for (const [name, value] of Object.entries(rule.headers ?? {})) {
      if (!sure(headerAnswer([value].flat(), facts.headers?.[name], deny, captures))) return false;
    }
    for (const [name, value] of Object.entries(rule.claims ?? {})) {
      const claims = peer?.token !== undefined && peer.token.id.uri === shown?.id.uri ? peer.token.claims : {};
      if (!sure(claimAnswer(value, Object.hasOwn(claims, name) ? claims[name] : undefined, deny, captures)))
        return false;
    }
    return true;
  });
}

/** `allow rule`, `deny rule` or `deny default`, and what an audit would say. */
export function reference(rules: readonly PolicyRule[], peer: Peer | undefined, facts: RequestFacts): string {
  const all: Shown[] = peer === undefined ? [] : [{ via: peer.via, id: peer.id }];
  if (peer?.via === "x509" && peer.token !== undefined) all.push({ via: "jwt", id: peer.token.id });
  const holds = (rule: PolicyRule) => {
    const deny = rule.deny !== undefined;
    if (peer === undefined) return holdsFor(rule, deny, undefined, true, peer, facts);
    return all.some((shown, i) => holdsFor(rule, deny, shown, i === 0, peer, facts));
  };
  const running = (rule: PolicyRule) => rule.mode === "audit" && facts.now! < Date.parse(rule.until!);
  const matching = rules.filter(holds);
  const denied = matching.find((rule) => rule.deny !== undefined && !running(rule));
  if (denied !== undefined) return `deny ${denied.rule}`;
  const allowed = matching.find((rule) => rule.allow !== undefined && rule.mode !== "audit");
  const other = matching.find((rule) => running(rule) && (rule.deny !== undefined) === (allowed !== undefined));
  const audited = other === undefined ? "" : ` audit ${other.rule}`;
  return allowed === undefined ? `deny default${audited}` : `allow ${allowed.rule}${audited}`;
}
