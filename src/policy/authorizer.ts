/** An external authorizer asked over HTTP: it may deny what the policy allows and add headers from a list, nothing else (S-26). */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { type Clock, SpiffeError, systemClock } from "../base/index.ts";
import { isJsonObject, type JsonValue, parseJson } from "../encoding/strict-json.ts";
import type { Peer } from "../id/index.ts";
import { type AuthorizerSettings, checkAuthorizer } from "./authorizer-settings.ts";
import { headerName } from "./conditions.ts";
import { formatIssue } from "./issue.ts";
import type { RequestFacts } from "./match.ts";
import type { Decision } from "./policy.ts";

/** Why there was no answer that counts. */
export type AuthorizerFailure = "timeout" | "unreachable" | "status" | "redirect" | "answer";

/** What became of a request at the authorizer. */
export interface AuthorizerOutcome {
  /** The policy's decision, or a deny with `policy.authorizer-denied` or, where it failed, `policy.authorizer-` and how. */
  readonly decision: Decision;
  /** Headers to set on the request that goes on, each in place of whatever the caller sent under that name. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Present where the authorizer failed. */
  readonly failure?: AuthorizerFailure;
}

/** What stands for the outside world. */
export interface AuthorizerOptions {
  /** Sends the question; the platform's `fetch` by default. One made by `createFetch` proves the own SVID. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  readonly clock?: Clock | undefined;
}

const KNOWN: OptionNames<AuthorizerOptions> = { fetch: true, clock: true };

/** Bytes of an answer. */
const MAX_ANSWER = 65_536;
/** Visible ASCII with blanks inside: what is one header value to every reader. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?$/;
const JSON_TYPE = /^application\/json\s*(?:;[^,]*)?$/i;
const NO_HEADERS: AuthorizerOutcome["headers"] = Object.freeze([]);

class Failed {
  readonly kind: AuthorizerFailure;
  constructor(kind: AuthorizerFailure) {
    this.kind = kind;
  }
}

type Answer = { readonly allow: false } | { readonly allow: true; readonly headers: AuthorizerOutcome["headers"] };

/**
 * Asks an external authorizer about requests that the policy allows.
 *
 * The question is a POST of one JSON object with the names of the access log: `peer`, `via`, `token`, `claims`,
 * `method`, `path`, `host`, `listener`, `route`, `rule`. The answer has to be status 200, `application/json` and
 * `{ "allow": false }` or `{ "allow": true, "headers": { … } }` and no other member. Everything else denies, with
 * a reason of its own: too slow `policy.authorizer-timeout`, another status `-status`, a redirect `-redirect`, a reset or
 * nobody at home `-unreachable`, junk or a header that is not on the list `-answer`.
 */
export class Authorizer {
  /** Headers it may add, as {@link headerName} spells them: a caller's own ones of these names must not go on. */
  readonly headers: readonly string[];
  readonly #settings: AuthorizerSettings;
  readonly #fetch: NonNullable<AuthorizerOptions["fetch"]>;
  readonly #clock: Clock;

  /**
   * @param settings that passed the check; {@link createAuthorizer} checks them
   * @throws `ERR_SPIFFE_CONFIG` for a question in plaintext that the platform's `fetch` would send through a proxy
   */
  constructor(settings: AuthorizerSettings, options: AuthorizerOptions = {}) {
    this.#settings = settings;
    this.headers = settings.headers;
    if (options.fetch === undefined) checkNoProxy(settings.url);
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Confirms what the policy decided. A deny stays a deny without asking. Never throws.
   *
   * @param signal ends the question when the caller has gone; that counts as `unreachable`
   */
  async confirm(
    decision: Decision,
    peer: Peer | undefined,
    facts: RequestFacts,
    signal?: AbortSignal,
  ): Promise<AuthorizerOutcome> {
    if (decision.verdict !== "allow") return { decision, headers: NO_HEADERS };
    const deny = (reason: `policy.authorizer-${AuthorizerFailure | "denied"}`): Decision => {
      return { ...(decision.rule !== undefined && { rule: decision.rule }), verdict: "deny", reason, mode: "enforce" };
    };
    try {
      const answer = await this.#ask(questionOf(decision, peer, facts), signal);
      if (!answer.allow) return { decision: deny("policy.authorizer-denied"), headers: NO_HEADERS };
      return { decision, headers: answer.headers };
    } catch (error) {
      const failure = error instanceof Failed ? error.kind : "unreachable";
      return { decision: deny(`policy.authorizer-${failure}`), headers: NO_HEADERS, failure };
    }
  }

  /** The answer, or a failure; nothing of a late one is waited for. */
  async #ask(body: string, signal: AbortSignal | undefined): Promise<Answer> {
    const over = new AbortController();
    const gone = () => over.abort();
    signal?.addEventListener("abort", gone, { once: true });
    if (signal?.aborted) gone();
    const aborted = new Promise<never>((_, reject) => {
      over.signal.addEventListener("abort", () => reject(new Failed("unreachable")), { once: true });
      if (over.signal.aborted) reject(new Failed("unreachable"));
    });
    const late = this.#clock.sleep(this.#settings.timeoutMs, over.signal).then(() => {
      throw new Failed("timeout");
    });
    try {
      return await Promise.race([this.#exchange(body, over.signal), late, aborted]);
    } finally {
      signal?.removeEventListener("abort", gone);
      over.abort();
    }
  }

  async #exchange(body: string, signal: AbortSignal): Promise<Answer> {
    const response = await this.#fetch(this.#settings.url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body,
      // a redirect is an answer of its own, and not one that counts
      redirect: "manual",
      signal,
    });
    if (response.status !== 200 || response.redirected) {
      await response.body?.cancel().catch(() => {});
      // some platforms show a redirect that is not followed as a response without status
      const redirects = response.redirected || response.type === "opaqueredirect" || `${response.status}`[0] === "3";
      throw new Failed(redirects ? "redirect" : "status");
    }
    if (!JSON_TYPE.test(response.headers.get("content-type") ?? "")) {
      await response.body?.cancel().catch(() => {});
      throw new Failed("answer");
    }
    const parsed = parseJson(await readBody(response), { maxBytes: MAX_ANSWER });
    if (!parsed.ok) throw new Failed("answer");
    return this.#read(parsed.value);
  }

  #read(value: JsonValue): Answer {
    if (!isJsonObject(value)) throw new Failed("answer");
    const { allow, headers, ...others } = value;
    if (typeof allow !== "boolean" || Object.keys(others).length > 0) throw new Failed("answer");
    if (!allow) return { allow };
    if (headers === undefined) return { allow, headers: NO_HEADERS };
    if (!isJsonObject(headers)) throw new Failed("answer");
    const read = Object.entries(headers).map(([name, text]) => {
      const plain = headerName(name);
      if (typeof text !== "string" || !VALUE.test(text) || !this.headers.includes(plain)) throw new Failed("answer");
      return [plain, text] as const;
    });
    if (new Set(read.map(([name]) => name)).size !== read.length) throw new Failed("answer");
    return { allow, headers: read };
  }
}

const PROXIES = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/** Some platforms' `fetch` obeys these for loopback too: then another machine would hear the question, and answer it. */
function checkNoProxy(url: string): void {
  if (!url.startsWith("http:")) return;
  const { env } = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process ?? {};
  let found: string | undefined;
  try {
    found = PROXIES.find((name) => (env?.[name] ?? "") !== "");
  } catch {
    found = "unreadable environment";
  }
  if (found === undefined) return;
  const sentence = `Expected an authorizer over https, or no proxy for ${url}; got ${found}, by which another machine could answer`;
  throw new SpiffeError("ERR_SPIFFE_CONFIG", sentence, {
    hint: `Take ${PROXIES.join(", ")} out of the environment (Deno: --allow-env=${PROXIES.join()}), or use https`,
  });
}

/** The body within its bound; one that is longer or breaks off is no answer. */
async function readBody(response: Response): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) throw new Failed("answer");
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.byteLength;
    if (length > MAX_ANSWER) {
      void reader.cancel().catch(() => {});
      throw new Failed("answer");
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function questionOf({ rule }: Decision, peer: Peer | undefined, facts: RequestFacts): string {
  const { method, path, host, listener, route } = facts;
  const question = {
    peer: peer?.id.uri,
    via: peer?.via,
    token: peer?.via === "x509" ? peer.token?.id.uri : undefined,
    claims: peer?.token?.claims,
    method,
    path,
    host,
    listener,
    route,
    rule,
  };
  // a claim may be an integer beyond what JSON writers take
  return JSON.stringify(question, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}

/**
 * Makes an authorizer of settings as a file or a program writes them.
 *
 * @param input `{ url, timeout?, headers? }`: https, or http on loopback; the timeout 500ms unless given; names of
 *   headers it may add
 * @throws `ERR_SPIFFE_CONFIG` naming every fault; `ERR_SPIFFE_USAGE` for an option it does not know
 *
 * @example
 * ```ts
 * import { createAuthorizer } from "spiffe-edge/policy";
 * const answers = async () => Response.json({ allow: true, headers: { "x-plan": "gold" } });
 * const authorizer = createAuthorizer({ url: "http://127.0.0.1:9191/", headers: ["x-plan"] }, { fetch: answers });
 * const allowed = { verdict: "allow", reason: "policy.allowed", rule: "web", mode: "enforce" } as const;
 * const outcome = await authorizer.confirm(allowed, undefined, { method: "GET", path: "/" });
 * console.assert(outcome.decision.verdict === "allow" && outcome.headers[0]?.[1] === "gold");
 * ```
 */
export function createAuthorizer(input: unknown, options: AuthorizerOptions = {}): Authorizer {
  onlyKnown("createAuthorizer", options, KNOWN);
  const { settings, issues } = checkAuthorizer(input, ["authorizer"]);
  if (settings === undefined) throw new SpiffeError("ERR_SPIFFE_CONFIG", issues.map(formatIssue).join("\n"));
  return new Authorizer(settings, options);
}
