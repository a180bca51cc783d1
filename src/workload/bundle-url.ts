/** A SPIFFE bundle from its bundle endpoint, profile `https_web` (SPIFFE Federation §5.2.1). Needs nothing but `fetch`. */
import type { Clock } from "../base/clock.ts";
import type { Reason } from "../base/codes.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { SpiffeBundle } from "../bundle/index.ts";
import type { TrustDomain } from "../id/index.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { Logger } from "../telemetry/logger.ts";
import { readBody } from "./body.ts";
import { stateOf } from "./bundle-document.ts";
import { type BundleState, DocumentFeed } from "./bundle-feed.ts";
import type { SendRequest } from "./jwt-fetch.ts";
import { checkTimeout, type LinkedSignal, linkSignals, untilAborted, within } from "./signals.ts";

/** How a bundle is fetched. */
export interface UrlOptions {
  /** Sends the requests; the platform's fetch by default. */
  readonly fetch?: SendRequest | undefined;
  /**
   * Milliseconds for which a bundle counts since the endpoint last confirmed it; 24 hours by default, `Infinity` has to be
   * written. After that nothing of the trust domain is trusted, until the endpoint answers again.
   */
  readonly maxAgeMs?: number | undefined;
  /**
   * What asks for newer bundles: a timer, or `ready()` when it is time. Default `timer` where timers last; in workerd they
   * end with their request, and it is `on-demand`.
   */
  readonly refresh?: "timer" | "on-demand" | undefined;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 5;
/** One fetch with its redirects and its body takes no longer. */
const FETCH_TIMEOUT_MS = 10_000;
/** Where the bundle has no refresh hint (BND-19). */
const INTERVAL_MS = 300_000;
const MIN_INTERVAL_MS = 60_000;
/** A key that was removed shall not be trusted for days because a hint says so. */
const MAX_INTERVAL_MS = 3_600_000;
/** Before the first bundle nobody can be verified, so it is not waited a whole interval for (FED-29 is about polls). */
const FIRST_RETRY_MS = 1_000;
const DAY_MS = 86_400_000;

/**
 * Opens nothing yet: see {@link UrlFeed.open}.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`
 */
export function urlFeed(
  url: string | URL,
  trustDomain: TrustDomain,
  options: UrlOptions,
  { clock, logger }: { clock: Clock; logger: Logger },
): UrlFeed {
  if (!URL.canParse(String(url))) throw unfit(JSON.stringify(String(url).slice(0, 100)), "is no URL");
  return new UrlFeed(checked(new URL(url)), trustDomain, options, { clock, logger });
}

export class UrlFeed extends DocumentFeed {
  readonly #url: URL;
  readonly #trustDomain: TrustDomain;
  readonly #send: SendRequest;
  readonly #maxAgeMs: number;
  readonly #onDemand: boolean;
  /** The highest sequence seen; it never goes down, not even while no bundle is held. */
  #sequence: bigint | undefined;
  #intervalMs: number = INTERVAL_MS;
  #failures = 0;
  /** The number of the last fetch, and of the one that gave what is held: on demand, several go on at once. */
  #asked = 0;
  #taken = 0;
  /** Monotonic time from which the next fetch is due. */
  #dueAt = 0;
  /** When the endpoint last confirmed what is held, by both clocks: one of them may have stood still. */
  #confirmed = { wall: 0, monotonic: 0 };
  #rest: LinkedSignal | undefined;

  constructor(url: URL, trustDomain: TrustDomain, options: UrlOptions, deps: { clock: Clock; logger: Logger }) {
    super(`the bundle endpoint ${placeOf(url)}`, deps);
    this.#url = url;
    this.#trustDomain = trustDomain;
    this.#send = options.fetch ?? ((...request) => fetch(...request));
    this.#maxAgeMs = checkTimeout(options.maxAgeMs ?? DAY_MS, "maxAgeMs");
    this.#onDemand = (options.refresh ?? (capabilities.lastingTimers.value ? "timer" : "on-demand")) === "on-demand";
  }

  /** Waits for the first bundle. */
  async open(options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined }): Promise<void> {
    this.running = this.#poll();
    await this.held.open(options);
  }

  override get current(): BundleState | undefined {
    this.#endIfOld();
    return super.current;
  }

  override get state(): DocumentFeed["state"] {
    this.#endIfOld();
    return super.state;
  }

  override async ready(signal?: AbortSignal): Promise<BundleState> {
    if (!this.#onDemand) return super.ready(signal);
    // Whoever comes first asks. The others do not wait for it: it may end with the request that asked.
    if (this.held.clock.monotonic() >= this.#dueAt || this.current === undefined) await this.#attempt(signal);
    const { current } = this;
    if (current !== undefined) return current;
    if (signal?.aborted) {
      throw new SpiffeError("ERR_SPIFFE_ABORTED", "The wait for a bundle was aborted", { cause: signal.reason });
    }
    throw this.held.absence(`No bundle of ${this.#trustDomain}`);
  }

  async #poll(): Promise<void> {
    const { clock, closing } = this.held;
    while (!closing.aborted) {
      if (clock.monotonic() >= this.#dueAt) await this.#attempt(undefined);
      if (this.#onDemand && this.current !== undefined) return;
      const due = this.#dueAt - clock.monotonic();
      const end = this.current === undefined ? due : this.#maxAgeMs - this.#age() + 1;
      this.#rest = linkSignals(closing);
      await clock.sleep(Math.max(1, Math.min(due, end)), this.#rest.signal).catch(() => {});
      this.#rest.release();
    }
  }

  /** Fetches once. Never rejects: what went wrong is noted. */
  async #attempt(signal: AbortSignal | undefined): Promise<void> {
    const { held } = this;
    const { clock } = held;
    // Taken before the fetch, which may never end.
    this.#dueAt = clock.monotonic() + FETCH_TIMEOUT_MS;
    held.reading();
    const number = ++this.#asked;
    const link = linkSignals(signal, held.closing);
    try {
      const late = () => failed(this.#url, `it did not answer within ${FETCH_TIMEOUT_MS} ms`, "ERR_SPIFFE_TIMEOUT");
      const options = { timeoutMs: FETCH_TIMEOUT_MS, clock, signal: link.signal, late };
      // A sender need not look at the signal.
      const fetching = (signal: AbortSignal) => untilAborted(fetchDocument(this.#url, this.#send, signal), signal);
      const document = await within(fetching, options);
      // What a later fetch brought is newer.
      if (number < this.#taken) return;
      this.#take(document);
      this.#taken = number;
      this.#dueAt = clock.monotonic() + this.#intervalMs;
    } catch (thrown) {
      if (number < this.#taken) return;
      if (link.signal.aborted) this.#dueAt = clock.monotonic();
      else this.#fail(isSpiffeError(thrown) ? thrown : failed(this.#url, "it could not be reached", undefined, thrown));
    } finally {
      link.release();
    }
  }

  #fail(error: SpiffeError): void {
    this.held.trouble(error, error.code === "ERR_SPIFFE_BUNDLE");
    const first = FIRST_RETRY_MS * 2 ** Math.min(this.#failures++, 20);
    const wait = this.held.state === "starting" ? Math.min(first, this.#intervalMs) : this.#intervalMs;
    this.#dueAt = this.held.clock.monotonic() + wait;
  }

  #take(document: Uint8Array): void {
    const verdict = SpiffeBundle.safeParse(this.#trustDomain, document);
    if (!verdict.ok) throw refusal(`${placeOf(this.#url)}: ${verdict.message}`, verdict.reason);
    const { sequence, refreshHintMs } = verdict.value;
    // Without a sequence, and with the same one again, what was fetched last counts (FED-31).
    if (sequence !== undefined && this.#sequence !== undefined && sequence < this.#sequence) {
      const expected = `Expected sequence ${this.#sequence} or a later one from ${placeOf(this.#url)}, got ${sequence}`;
      throw refusal(expected, "bundle.sequence");
    }
    this.#sequence = sequence ?? this.#sequence;
    this.#intervalMs = Math.min(MAX_INTERVAL_MS, Math.max(MIN_INTERVAL_MS, refreshHintMs ?? INTERVAL_MS));
    const { clock } = this.held;
    this.#confirmed = { wall: clock.now(), monotonic: clock.monotonic() };
    this.held.set(stateOf([verdict.value]));
    const bundle = verdict.value.toJSON();
    this.held.logger.info("bundle fetched", {
      url: placeOf(this.#url),
      bundle,
      warnings: verdict.value.warnings.length,
    });
  }

  #age(): number {
    const { clock } = this.held;
    return Math.max(clock.now() - this.#confirmed.wall, clock.monotonic() - this.#confirmed.monotonic);
  }

  #endIfOld(): void {
    if (this.held.current === undefined || this.#age() <= this.#maxAgeMs) return;
    const why = this.lastError === undefined ? "" : `: ${this.lastError.message}`;
    const sentence = `The bundle of ${this.#trustDomain} was last confirmed more than ${this.#maxAgeMs} ms ago${why}`;
    const options = { phase: "fetch-bundle", retryable: true, cause: this.lastError };
    this.held.withdraw("expired", new SpiffeError("ERR_SPIFFE_EXPIRED", sentence, options));
    // Found out by a step of the wall clock, that may be long before the next poll.
    this.#dueAt = Math.min(this.#dueAt, this.held.clock.monotonic());
    this.#rest?.abort();
  }
}

/** Gets the document, from where redirects lead to; the configured URL is used each time (FED-21). */
async function fetchDocument(endpoint: URL, send: SendRequest, signal: AbortSignal): Promise<Uint8Array> {
  let url = endpoint;
  for (let redirects = 0; ; redirects++) {
    const response = await send(url.href, {
      method: "GET",
      headers: { accept: "application/json" },
      redirect: "manual",
      signal,
    });
    const { status, redirected } = response;
    if (status === 200 && !redirected) {
      const body = await readBody(response, LIMITS.bundle);
      if (body !== undefined) return body;
      throw refusal(`Expected a bundle of at most ${LIMITS.bundle} bytes from ${placeOf(url)}`, "bundle.too-large");
    }
    await response.body?.cancel();
    if (redirected) throw failed(url, "it was redirected, unchecked, by the given fetch");
    const location = REDIRECTS.has(status) ? response.headers.get("location") : null;
    if (!location) throw failed(url, `it answered with status ${status}`);
    if (redirects === MAX_REDIRECTS) throw failed(endpoint, `it redirected more than ${MAX_REDIRECTS} times`);
    if (!URL.canParse(location, url)) throw failed(url, "it redirected to what is no URL");
    url = checked(new URL(location, url), url);
  }
}

/** An endpoint URL has scheme `https` and no user information, also after a redirect (FED-06, FED-07, FED-19). */
function checked(url: URL, from?: URL): URL {
  const { protocol, username, password } = url;
  const fault =
    protocol !== "https:" ? `is ${protocol}, not https:` : username + password !== "" ? "has a user name" : undefined;
  if (fault === undefined) return url;
  if (from === undefined) throw unfit(`${protocol}//${url.host}${url.pathname}`, fault);
  throw failed(from, `it redirected to a URL that ${fault}`);
}

/** A URL as sentences and logs name it: what stands in a query may be a signature or a token, as in a redirect to a store. */
function placeOf({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

function refusal(sentence: string, reason: Reason): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_BUNDLE", sentence, { reason, phase: "fetch-bundle" });
}

function unfit(url: string, fault: string): SpiffeError {
  const sentence = `Expected the https: URL of a bundle endpoint, without user name; ${url} ${fault}`;
  return new SpiffeError("ERR_SPIFFE_USAGE", sentence, { phase: "fetch-bundle" });
}

function failed(
  url: URL,
  what: string,
  code: "ERR_SPIFFE_UPSTREAM" | "ERR_SPIFFE_TIMEOUT" = "ERR_SPIFFE_UPSTREAM",
  cause?: unknown,
): SpiffeError {
  const said = cause instanceof Error ? ` (${cause.message.replaceAll(url.href, placeOf(url))})` : "";
  const sentence = `Expected a bundle from ${placeOf(url)}, but ${what}${said}`;
  return new SpiffeError(code, sentence, { phase: "fetch-bundle", retryable: true, cause });
}
