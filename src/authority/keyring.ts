/** Which generation of signing keys signs now, which comes next, and which only stays for what it signed. */
import type { JWK } from "jose";
import type { Clock } from "../base/index.ts";
import type { TrustDomain } from "../id/index.ts";
import { Generation } from "./generation.ts";

export interface KeyringOptions {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  /** Life of a CA certificate, ms. */
  readonly caTtlMs: number;
  /** How long a key is published before it signs, ms. */
  readonly prepareMs: number;
}

/**
 * Prepare, activate, retire: a key is in the bundle for `prepareMs` before it signs, and stays there until the last
 * SVID it signed has expired (S-28).
 */
export class Keyring {
  readonly #options: KeyringOptions;
  #current: Generation;
  /** The wall time at which the successor of `current` is to be prepared. */
  #prepareAt: number;
  #next: { readonly generation: Generation; activateAtMonotonic: number | undefined } | undefined;
  #retired: readonly Generation[] = [];

  private constructor(options: KeyringOptions, first: Generation) {
    this.#options = options;
    this.#current = first;
    this.#prepareAt = this.#half(first);
  }

  static async create(options: KeyringOptions): Promise<Keyring> {
    const first = await Generation.create(options.trustDomain, options.clock.now(), options.caTtlMs);
    return new Keyring(options, first);
  }

  /** The generation that signs. */
  get current(): Generation {
    return this.#current;
  }

  /** The CA certificates that are published now, DER: the signing one, the next, those that wait for their SVIDs to end. */
  x509Authorities(): Uint8Array[] {
    const now = this.#options.clock.now();
    const waiting = this.#retired.filter((old) => old.lastX509Expiry >= now);
    return [...this.#signing(), ...waiting].map((generation) => generation.certificate);
  }

  /** The public JWT keys that are published now. */
  jwtKeys(): JWK[] {
    const now = this.#options.clock.now();
    const waiting = this.#retired.filter((old) => old.lastJwtExpiry >= now);
    return [...this.#signing(), ...waiting].map((generation) => generation.jwk);
  }

  /** Makes the next generation, unless there is one already. */
  async prepare(): Promise<void> {
    if (this.#next !== undefined) return;
    const { trustDomain, clock, caTtlMs } = this.#options;
    const generation = await Generation.create(trustDomain, clock.now(), caTtlMs);
    this.#next = { generation, activateAtMonotonic: undefined };
  }

  /** To be called when everybody was told the published keys: the time until the next generation signs begins here. */
  published(): void {
    const { clock, prepareMs } = this.#options;
    if (this.#next !== undefined) this.#next.activateAtMonotonic ??= clock.monotonic() + prepareMs;
  }

  /** Does what is due now. */
  async advance(): Promise<void> {
    const { clock } = this.#options;
    if (this.#next === undefined && clock.now() >= this.#prepareAt) await this.prepare();
    if (this.#next !== undefined && clock.monotonic() >= (this.#next.activateAtMonotonic ?? Infinity)) {
      this.#retired = [...this.#retired, this.#current];
      this.#current = this.#next.generation;
      this.#next = undefined;
      this.#prepareAt = this.#half(this.#current);
    }
    const now = clock.now();
    this.#retired = this.#retired.filter((old) => Math.max(old.lastX509Expiry, old.lastJwtExpiry) >= now);
  }

  /** Milliseconds until {@link advance} has something to do. */
  dueIn(): number {
    const { clock } = this.#options;
    const now = clock.now();
    const retiring = this.#retired.flatMap((old) => [old.lastX509Expiry, old.lastJwtExpiry]).filter((at) => at >= now);
    return Math.min(
      this.#next === undefined ? this.#prepareAt - now : (this.#next.activateAtMonotonic ?? 0) - clock.monotonic(),
      ...retiring.map((at) => at + 1 - now),
    );
  }

  #signing(): Generation[] {
    return this.#next === undefined ? [this.#current] : [this.#current, this.#next.generation];
  }

  #half(generation: Generation): number {
    const now = this.#options.clock.now();
    return now + (generation.notAfter - now) / 2;
  }
}
