/** Tokens that have been verified, remembered by all that mattered, so that a busy caller costs one signature check (S-19). */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { accept, LIMITS, SpiffeError, type Verdict } from "../base/index.ts";
import {
  type Checks,
  chooseVerifier,
  type JwsAlgorithm,
  runChecks,
  type SignatureVerifier,
  type SyncSignatureVerifier,
} from "../crypto/index.ts";
import { equalOctets } from "../crypto/octets.ts";
import { sha256Text } from "../crypto/text-digest.ts";
import { runInTurn } from "../crypto/turn.ts";
import type { TokenIdentity } from "../id/index.ts";
import type { JwtBundle, JwtBundleSource } from "./bundle.ts";
import type { JwtClaims } from "./claims.ts";
import type { JwtKey } from "./jwk-set.ts";
import { sharedId } from "./shared.ts";
import { findBundle } from "./signer.ts";
import { type JwtValidateOptions, judge, type Settings, settingsOf, type Validated, validation } from "./validate.ts";

/** How much is remembered. */
export interface VerifiedTokensLimits {
  /** Tokens; 20,000 unless given, 0 for none. Of the oldest, those that were not shown again go first. */
  readonly maxEntries?: number | undefined;
  /** Bytes of the tokens that are remembered, together; 8 MiB unless given. */
  readonly maxBytes?: number | undefined;
}

/** How the tokens of one door are judged; see {@link JwtValidateOptions}. */
export type RememberedOptions = Pick<
  JwtValidateOptions,
  "audience" | "clock" | "leewayMs" | "requireKeyId" | "lenientHeader" | "verifier"
>;

const LIMITED: OptionNames<VerifiedTokensLimits> = { maxEntries: true, maxBytes: true };
const KNOWN: OptionNames<RememberedOptions> = {
  audience: true,
  clock: true,
  leewayMs: true,
  requireKeyId: true,
  lenientHeader: true,
  verifier: true,
};

/** Judges a token: at once where it is remembered and still holds. Gives what it proves, a new object every time. */
export type TokenJudge = (
  token: string,
  bundles: JwtBundleSource,
) => Verdict<TokenIdentity> | Promise<Verdict<TokenIdentity>>;

/** A token that verified. Neither the token nor anything that a caller was given. All that a hit reads is here, at hand. */
interface Entry extends Omit<JwtClaims, "issuedAt"> {
  readonly bytes: number;
  readonly algorithm: JwsAlgorithm;
  readonly keyId: string | undefined;
  readonly signer: JwtKey;
  /** Of the last bundle in which the signer was found. */
  mark: object;
  /** Whether it was shown since it was last put at the end. */
  used: boolean;
}

/** A validation under way, which others with the same token wait for. */
interface Flight {
  readonly bundles: JwtBundleSource;
  readonly verdict: Promise<Verdict<Entry>>;
}

/** What a judge goes by. */
interface Rules {
  readonly settings: Settings;
  readonly verifier: SignatureVerifier;
  /** Stands for audiences and options in the memory of the judge. */
  readonly scope: string;
}

/** Verifiers by number: what one of them has found says nothing about another. */
const numbers = new WeakMap<SignatureVerifier, number>();
let lastNumber = 0;

function numberOf(verifier: SignatureVerifier): number {
  let number = numbers.get(verifier);
  if (number === undefined) numbers.set(verifier, (number = ++lastNumber));
  return number;
}

/** Stands for a bundle, which never changes, and does not keep it in memory. */
const marks = new WeakMap<JwtBundle, object>();

function markOf(bundle: JwtBundle): object {
  let mark = marks.get(bundle);
  if (mark === undefined) marks.set(bundle, (mark = {}));
  return mark;
}

const MAX_ENTRIES = 20_000;
const MAX_BYTES = 8 * 1_048_576;
/** Tokens that stay, as they were used since, before one has to go. */
const MAX_SPARED = 64;

/**
 * A memory of verified tokens. It holds for each the SHA-256 of the whole token, the audiences and the options, what the
 * token says, and the key that verified it: not the token. Every hit checks time and audience anew, and that this very
 * key is in the current bundle of the token's trust domain; where one of them fails, the token is judged from the
 * beginning. Refusals are not remembered.
 *
 * @example
 * ```ts
 * import { JwtBundle, VerifiedTokens } from "spiffe-edge";
 * const bundle = JwtBundle.fromJwks("example.org", '{"keys":[]}', "workload-api");
 * const judge = new VerifiedTokens({ maxEntries: 1_000 }).judge({ audience: "spiffe://example.org/orders" });
 * const verdict = await judge("e30.e30.AA", bundle);
 * console.assert(!verdict.ok && verdict.reason === "jwt.algorithm");
 * ```
 */
export class VerifiedTokens {
  readonly counters: { hits: number; misses: number; evicted: number } = { hits: 0, misses: 0, evicted: 0 };
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  /** In the order in which they were kept; what was used since is put at the end only when its turn to go has come. */
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, Flight>();
  readonly #scopes = new Map<string, string>();
  #bytes = 0;

  /** @throws SpiffeError `ERR_SPIFFE_USAGE` for limits that are no whole numbers from 0 on, and for one it does not know */
  constructor(limits: VerifiedTokensLimits = {}) {
    onlyKnown("VerifiedTokens", limits, LIMITED);
    const { maxEntries = MAX_ENTRIES, maxBytes = MAX_BYTES } = limits;
    for (const limit of [maxEntries, maxBytes]) {
      if (!Number.isSafeInteger(limit) || limit < 0)
        throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected limits of remembered tokens to be whole numbers from 0 on");
    }
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
  }

  /** Tokens remembered, and the bytes they had. */
  get size(): { entries: number; bytes: number } {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }

  /**
   * A judge of tokens by these options. All judges share the memory; only those with the same audiences and options
   * share what is in it.
   *
   * @throws SpiffeError `ERR_SPIFFE_USAGE` for an empty audience, a leeway out of range or an option it does not know
   */
  judge(options: RememberedOptions): TokenJudge {
    onlyKnown("VerifiedTokens.judge", options, KNOWN);
    const settings = settingsOf(options);
    const verifier = options.verifier ?? chooseVerifier();
    const rules = { settings, verifier, scope: this.#scopeOf(settings, verifier) };
    return (token, bundles) => {
      // what no validation takes is not worth a digest
      if (this.#maxEntries === 0 || typeof token !== "string" || token.length > LIMITS.token)
        return run(token, bundles, rules, identityOf);
      const digest = sha256Text(token);
      return typeof digest === "string"
        ? this.#judge(digest, token, bundles, rules)
        : digest.then((late) => this.#judge(late, token, bundles, rules));
    };
  }

  /** A short text for audiences and options; none for the first, as most memories have only those. */
  #scopeOf(settings: Settings, verifier: SignatureVerifier): string {
    const names = namesOf(settings, verifier);
    let scope = this.#scopes.get(names);
    if (scope === undefined) {
      scope = this.#scopes.size === 0 ? "" : `:${this.#scopes.size}`;
      this.#scopes.set(names, scope);
    }
    return scope;
  }

  #judge(digest: string, token: string, bundles: JwtBundleSource, rules: Rules): ReturnType<TokenJudge> {
    const key = digest + rules.scope;
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      if (holds(entry, bundles, rules.settings)) {
        // written once: each write to an old object is one more for the garbage collector to look at
        if (!entry.used) entry.used = true;
        this.counters.hits++;
        return accept(identity(entry));
      }
      this.#forget(key, entry);
    }
    this.counters.misses++;
    const under = this.#flights.get(key);
    if (under?.bundles === bundles) return this.#join(under, token, rules);
    const verdict = run(token, bundles, rules, entryOf);
    if (verdict instanceof Promise) return this.#fly(key, { bundles, verdict });
    if (!verdict.ok) return verdict;
    this.#remember(key, verdict.value);
    return accept(identity(verdict.value));
  }

  /** Waits for the verdict on the same token. */
  async #join({ bundles, verdict: pending }: Flight, token: string, rules: Rules): Promise<Verdict<TokenIdentity>> {
    const verdict = await pending;
    if (!verdict.ok) return verdict;
    // what held when the flight began need not hold for who joined it later
    if (holds(verdict.value, bundles, rules.settings)) return accept(identity(verdict.value));
    return run(token, bundles, rules, identityOf);
  }

  /** Validates, once for all who show the token meanwhile. */
  async #fly(key: string, flight: Flight): Promise<Verdict<TokenIdentity>> {
    this.#flights.set(key, flight);
    try {
      const verdict = await flight.verdict;
      if (!verdict.ok) return verdict;
      this.#remember(key, verdict.value);
      return accept(identity(verdict.value));
    } finally {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    }
  }

  #remember(key: string, entry: Entry): void {
    const known = this.#entries.get(key);
    if (known !== undefined) this.#forget(key, known);
    this.#keep(key, entry);
    let spared = 0;
    while (this.#entries.size > this.#maxEntries || this.#bytes > this.#maxBytes) {
      const [oldest, last] = this.#entries.entries().next().value!;
      this.#forget(oldest, last);
      if (last.used && spared++ < MAX_SPARED) this.#keep(oldest, last);
      else this.counters.evicted++;
    }
  }

  #keep(key: string, entry: Entry): void {
    entry.used = false;
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
  }

  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }
}

/** Audiences and options in one text; lengths before the parts, so that no choice of names looks like another. */
function namesOf(settings: Settings, verifier: SignatureVerifier): string {
  const { audience, leewayMs, requireKeyId, lenientHeader } = settings;
  const names = [...audience.keys()].sort().map((name) => `${name.length}:${name}`);
  return `${names.length}:${names.join("")}${leewayMs}:${requireKeyId}:${lenientHeader}:${numberOf(verifier)}:`;
}

/** Validates: with the other tokens of this turn of the event loop or at once, where the verifier answers at once. */
function run<T>(
  token: string,
  bundles: JwtBundleSource,
  { settings, verifier }: Rules,
  read: (validated: Validated, token: string) => T,
): Verdict<T> | Promise<Verdict<T>> {
  const begin = () => reading(token, bundles, settings, read);
  return verifier.sync === true ? runInTurn(begin, verifier as SyncSignatureVerifier) : runChecks(begin(), verifier);
}

/** A validation, and what is wanted of what it found. */
function* reading<T>(
  token: string,
  bundles: JwtBundleSource,
  settings: Settings,
  read: (validated: Validated, token: string) => T,
): Checks<Verdict<T>> {
  const verdict = yield* validation(token, bundles, settings);
  return verdict.ok ? accept(read(verdict.value, token)) : verdict;
}

function entryOf({ jws, claims, bundle, signer }: Validated, token: string): Entry {
  const { algorithm, keyId } = jws;
  const { audience, expiresAt, notBefore, all } = claims;
  const id = sharedId(claims.id);
  const mark = markOf(bundle);
  return {
    bytes: token.length,
    algorithm,
    keyId,
    id,
    audience,
    expiresAt,
    notBefore,
    all,
    signer,
    mark,
    used: false,
  };
}

/** Whether a token that once verified would verify now. */
function holds(entry: Entry, bundles: JwtBundleSource, settings: Settings): boolean {
  if (judge(entry.keyId, entry, settings) !== undefined) return false;
  const bundle = findBundle(entry.id.trustDomain, bundles);
  if (!bundle.ok) return false;
  if (marks.get(bundle.value) === entry.mark) return true;
  const { spki } = entry.signer.key;
  if (!bundle.value.candidates(entry.algorithm, entry.keyId).some(({ key }) => equalOctets(key.spki, spki)))
    return false;
  entry.mark = markOf(bundle.value);
  return true;
}

/** What a token proves, made anew: dates can be changed by whoever is given one. */
function identity({ id, expiresAt, audience, all }: Omit<JwtClaims, "issuedAt" | "notBefore">): TokenIdentity {
  return Object.freeze({ id, expiresAt: new Date(expiresAt), audience, claims: all });
}

/** The same of a token that is not remembered. */
function identityOf({ claims: { id, expiresAt, audience, all } }: Validated): TokenIdentity {
  return identity({ id: sharedId(id), expiresAt, audience, all });
}
