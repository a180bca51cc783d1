/** Random rule sets and requests for property tests, drawn small so that they meet. */
import { type Peer, SpiffeId } from "../id/index.ts";
import type { PolicyRule, Principals, RequestFacts } from "./index.ts";

/** Numbers below n, the same in every run. */
export function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const DOMAINS = ["a.example", "b.example"];
const ID_PATHS = ["/web", "/cron", "/ns/x/sa/web", "/ns/y/sa/web", "/ns/x/sa/cron"];
const IDS = DOMAINS.flatMap((domain) => ID_PATHS.map((path) => `spiffe://${domain}${path}`));
const ID_PATTERNS = [
  "spiffe://a.example/**",
  "spiffe://a.example/ns/*/sa/web",
  "spiffe://a.example/ns/x/**",
  "spiffe://b.example/*",
  "spiffe://a.example/ns/*/sa/cron",
  "spiffe://a.example/*/y/**",
];
const METHODS = ["GET", "HEAD", "POST"];
const ROUTES = ["r1", "r2"];
const PATTERNS = [
  "/**",
  "/",
  "/a",
  "/a/",
  "/a/**",
  "/a/b/**",
  "/a/b",
  "/a/*",
  "/*/b",
  "/a/*/c",
  "/*/*/**",
  "/a:b",
  "/x/a%20b/**",
  "/*/b/*",
  "/*/*/c",
];
const PATHS = [
  "",
  "a/b",
  "/",
  "/a",
  "/a/",
  "/ab",
  "/a/b",
  "/a/b/",
  "/a/bc",
  "/a/b/c",
  "/x/b",
  "/x",
  "/y/b/x",
  "/x/y",
  "/a%3Ab",
  "/a:b",
  "/x/a%20b",
  "/x/a%20b/c",
  "/x%3A/b",
];
const HOSTS = ["a.test", "b.test", "x.a.test", "test", undefined];
export const TIMES: readonly (number | undefined)[] = [100_000, 200_000, 300_000, Number.NaN];
const instant = (ms: number) => new Date(ms).toISOString();

/** Draws rule sets, callers and requests. */
export class Draw {
  readonly roll: (n: number) => number;

  constructor(seed: number) {
    this.roll = dice(seed);
  }

  one<T>(list: readonly T[]): T {
    return list[this.roll(list.length)] as T;
  }

  #some<T>(list: readonly T[]): T[] {
    const drawn = list.filter(() => this.roll(2) === 0);
    return drawn.length === 0 ? [this.one(list)] : drawn;
  }

  /** Now and then, so that most rules have few conditions. */
  #maybe<T>(make: () => T, odds = 4): T | undefined {
    return this.roll(odds) === 0 ? make() : undefined;
  }

  #principals(captures: boolean): Principals {
    const via = this.#maybe(() => this.#some(["x509", "jwt"] as const));
    const anonymous = captures ? undefined : this.#maybe(() => true as const, 6);
    if (captures) return { ids: [this.one(["spiffe://a.example/ns/{t}/sa/*", "spiffe://b.example/ns/{t}/**"])], via };
    switch (this.roll(4)) {
      case 0:
        return { ids: this.#some(IDS), via, anonymous };
      case 1:
        return { ids: [...this.#some(ID_PATTERNS), this.one(IDS)], via, anonymous };
      case 2:
        return { trustDomains: this.#some(DOMAINS), via, anonymous };
      default:
        return this.roll(4) === 0 ? { anonymous: true } : { via: via ?? ["x509", "jwt"], anonymous };
    }
  }

  rule(name: string, effect?: "allow" | "deny"): PolicyRule {
    const captures = this.roll(5) === 0;
    const who = this.#principals(captures);
    const denies = effect === undefined ? this.roll(3) === 0 : effect === "deny";
    const audit = this.roll(5) === 0;
    const headers = this.#maybe(() => ({ "x-h": this.#some(["x", "y", "x*"]) }));
    return {
      rule: name,
      ...(denies ? { deny: who } : { allow: who }),
      methods: this.#maybe(() => this.#some(METHODS)),
      routes: this.#maybe(() => this.#some(ROUTES), 6),
      hosts: this.#maybe(() => this.#some(["a.test", "*.test", "*.a.test"]), 6),
      path: captures ? this.one(["/{t}/**", "/{t}/b", "/*/{t}"]) : this.#maybe(() => this.one(PATTERNS), 2),
      headers: captures ? this.#maybe(() => ({ "x-h": "{t}" }), 2) : headers,
      claims: this.#maybe(() => this.one([{ g: ["x", 1] }, { n: { g: true } }, { g: "x*", h: "y" }]), 6),
      time: this.#maybe(() => this.one([{ from: instant(150_000) }, { to: instant(250_000) }]), 6),
      ...(audit && { mode: "audit", until: instant(250_000) }),
    } as PolicyRule;
  }

  rules(most: number): PolicyRule[] {
    return Array.from({ length: 1 + this.roll(most) }, (_, i) => this.rule(`rule-${i}`));
  }

  peer(): Peer | undefined {
    const id = SpiffeId.parse(this.one(IDS));
    const expiresAt = new Date(0);
    const claims = this.one<Record<string, unknown>>([
      {},
      { g: "x" },
      { g: ["q", 1], n: { g: true } },
      { g: [], n: ["g"] },
      { g: { x: 1 }, n: { g: "true" } },
      { g: "xy", h: ["y"] },
      { g: ["q", null], n: { g: false } },
    ]);
    const token = { id: this.roll(2) === 0 ? id : SpiffeId.parse(this.one(IDS)), expiresAt, audience: [], claims };
    switch (this.roll(7)) {
      case 0:
        return undefined;
      case 1:
      case 2:
        return { via: "jwt", id: token.id, expiresAt, token };
      case 3:
      case 4:
        return { via: "x509", id, expiresAt, token };
      default:
        return { via: "x509", id, expiresAt };
    }
  }

  facts(): RequestFacts {
    return {
      method: this.roll(8) === 0 ? "" : this.one(METHODS),
      path: this.one(PATHS),
      route: this.one([...ROUTES, undefined]),
      host: this.one(HOSTS),
      headers: this.one([
        undefined,
        {},
        { "x-h": ["x"] },
        { "x-h": ["q, y"] },
        { "x-h": ["x", "q"] },
        { "x-h": ["xy"] },
        { "x-h": ["\u00a0y\t"] },
      ]),
      now: this.one(TIMES),
    };
  }
}
