/** The one handle most programs need: identity, tokens and bundles of this workload. */
import { type OptionNames, onlyKnown, plainOptions } from "../base/check-options.ts";
import type { SpiffeId } from "../id/index.ts";
import { BundleSource } from "./bundle-source.ts";
import { CHOICE_NAMES, type IdentityChoice } from "./choice.ts";
import { type ClientOptions, connectionOf, WorkloadApiClient } from "./client.ts";
import { JwtSource } from "./jwt-source.ts";
import { type OpenOptions, whenReady } from "./open.ts";
import { DIAL_NAMES, OPEN_NAMES } from "./open-names.ts";
import { X509Source } from "./x509-source.ts";

/** Options of {@link Workload.open}. */
export interface WorkloadOptions extends Omit<ClientOptions, "timeoutMs">, OpenOptions, IdentityChoice {}

const KNOWN: OptionNames<WorkloadOptions> = { ...DIAL_NAMES, ...OPEN_NAMES, ...CHOICE_NAMES };

/**
 * This workload as the Workload API knows it; everything in it is renewed by itself until it is closed.
 *
 * @example
 * ```ts
 * import { Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * console.assert(workload.id.uri === "spiffe://example.org/web");
 * const { token } = await workload.jwt.fetch({ audience: "spiffe://example.org/orders" });
 * console.assert(token.split(".").length === 3);
 * ```
 */
export class Workload {
  /** X509-SVID and X.509 bundles. */
  readonly x509: X509Source;
  /** JWT-SVIDs and JWT bundles. */
  readonly jwt: JwtSource;
  /** The bundles of both, for who verifies others. */
  readonly bundles: BundleSource;
  readonly #client: WorkloadApiClient;
  #id: SpiffeId | undefined;

  private constructor(client: WorkloadApiClient, choice: IdentityChoice) {
    this.#client = client;
    this.x509 = new X509Source({ client, ...choice });
    this.jwt = new JwtSource({ client, identity: this.x509 });
    this.bundles = BundleSource.of(this.x509, this.jwt);
  }

  /**
   * Connects, and waits for the first X509-SVID and the first bundles.
   *
   * @param options `socket`: address of the Workload API, `SPIFFE_ENDPOINT_SOCKET` by default; `timeoutMs`: how long to
   *   wait, 30,000 by default, `Infinity` has to be written; `hint`, `id` or `pick`: which of several identities
   * @throws SpiffeError `ERR_SPIFFE_TIMEOUT` with socket, phase and last error; `ERR_SPIFFE_ENDPOINT` for a missing or
   *   malformed address; `ERR_SPIFFE_NO_IDENTITY` when no SVID has the hint or ID; `ERR_SPIFFE_PERMISSION` when Deno lacks a
   *   permission; `ERR_SPIFFE_WORKLOAD_API` when the endpoint forbids to ask again; `ERR_SPIFFE_ABORTED`;
   *   `ERR_SPIFFE_USAGE` for an option it does not know
   */
  static async open(options: WorkloadOptions = {}): Promise<Workload> {
    onlyKnown("Workload.open", options, KNOWN);
    const { hint, id, pick, timeoutMs, signal } = options;
    const client = new WorkloadApiClient(plainOptions(options, DIAL_NAMES));
    const workload = new Workload(client, { hint, id, pick });
    const opening = {
      connection: connectionOf(workload.#client),
      async ready(within: AbortSignal) {
        await workload.bundles.ready(within);
        workload.#id = workload.x509.x509Svid().id;
      },
      lastError: () => workload.bundles.lastError,
      close: () => workload.close(),
    };
    await whenReady(opening, { timeoutMs, signal });
    return workload;
  }

  /** The SPIFFE ID of this workload: of its SVID, or of the last one it had. */
  get id(): SpiffeId {
    const { state } = this.x509;
    if (state === "ready" || state === "stale") this.#id = this.x509.x509Svid().id;
    return this.#id!;
  }

  /** Ends everything; nothing of it keeps the process alive. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.x509.close(), this.jwt.close()]);
    await this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
