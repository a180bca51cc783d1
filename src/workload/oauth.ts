/** A JWT-SVID as proof towards an OAuth 2.0 authorization server: client assertion and token exchange. */

import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { isJsonObject, type JsonObject, parseJson } from "../encoding/strict-json.ts";
import type { SpiffeId } from "../id/index.ts";
import { inspectAs } from "../id/inspect.ts";
import type { JwtSvid } from "../jwt/index.ts";
import { checkTokenTarget, otherToken } from "./bearer.ts";
import { readBody } from "./body.ts";
import type { SendRequest } from "./jwt-fetch.ts";
import type { JwtSvidSource } from "./jwt-source.ts";

const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt";

/** The answer of a token endpoint is small; the largest part is a token. */
const MAX_ANSWER = 4 * LIMITS.token;

/** For whom a client assertion is. */
export interface ClientAssertionOptions {
  /** The authorization server's issuer identifier, which has to be the assertion's only audience. */
  readonly issuer: string;
  /** One of the workload's identities; the default one otherwise. */
  readonly id?: SpiffeId | string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const ASSERTION: OptionNames<ClientAssertionOptions> = { issuer: true, id: true, signal: true };

/** Form parameters that authenticate a client. The assertion is a secret. */
export interface ClientAssertion {
  readonly client_assertion_type: typeof ASSERTION_TYPE;
  readonly client_assertion: string;
}

/**
 * The form parameters by which this workload authenticates at an authorization server: its JWT-SVID as a client assertion
 * of type `jwt-spiffe` (RFC 7521 §4.2, RFC 7523, OAuth SPIFFE Client Authentication).
 *
 * @param workload a `Workload`, or whatever has a `jwt` source
 * @param options `issuer`: the server's issuer identifier
 * @returns parameters to be added to a request to that server, and to no other
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for an option it does not know, and what `JwtSource.fetch` throws
 *
 * @example
 * ```ts
 * import { clientAssertion, Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * const proof = await clientAssertion(workload, { issuer: "https://login.example" });
 * const form = new URLSearchParams({ grant_type: "client_credentials", scope: "read", ...proof });
 * console.assert(form.get("client_assertion_type")?.endsWith(":jwt-spiffe"));
 * ```
 */
export async function clientAssertion(
  workload: { readonly jwt: JwtSvidSource },
  options: ClientAssertionOptions,
): Promise<ClientAssertion> {
  onlyKnown("clientAssertion", options, ASSERTION);
  return assertionOf(await workload.jwt.fetch(wantedBy(options)));
}

/** What to exchange, and for what. */
export interface TokenExchangeOptions extends ClientAssertionOptions {
  /** The server's token endpoint: TLS, or this host. */
  readonly endpoint: string | URL;
  /**
   * The token to be exchanged, with its type (RFC 8693 §3), such as a user's. Without one it is the workload's own
   * JWT-SVID.
   */
  readonly subject?: { readonly token: string; readonly type: string } | undefined;
  /** Whom the new token is for, as the server calls it. */
  readonly audience?: string | readonly string[] | undefined;
  /** Where the new token will be used: URIs. */
  readonly resource?: string | readonly string[] | undefined;
  /** Scopes of the new token, separated by spaces. */
  readonly scope?: string | undefined;
  /** Wanted type of the new token (RFC 8693 §3); the server chooses otherwise. */
  readonly requestedType?: string | undefined;
  /**
   * How the request authenticates its client: by a client assertion, or not at all, for servers to whom the subject token
   * alone is proof. Default `assertion`.
   */
  readonly client?: "assertion" | "none" | undefined;
  /** Sends the request; the platform's fetch by default. */
  readonly fetch?: SendRequest | undefined;
}

const EXCHANGE: OptionNames<TokenExchangeOptions> = {
  ...ASSERTION,
  endpoint: true,
  subject: true,
  audience: true,
  resource: true,
  scope: true,
  requestedType: true,
  client: true,
  fetch: true,
};
const SUBJECT: OptionNames<NonNullable<TokenExchangeOptions["subject"]>> = { token: true, type: true };

/** What the server gave. The token is shown by {@link ExchangedToken.accessToken} alone: not by JSON, inspection or errors. */
export class ExchangedToken {
  /** How the token is used: `Bearer`, `N_A`, or another word of the server. */
  readonly tokenType: string;
  /** What the token is (RFC 8693 §3). */
  readonly issuedTokenType: string;
  /** Milliseconds that the token lives from now, if the server says so. */
  readonly expiresInMs: number | undefined;
  /** Its scopes, if they differ from those asked for. */
  readonly scope: string | undefined;
  readonly #accessToken: string;

  constructor(accessToken: string, facts: Omit<ExchangedToken, "accessToken" | "toJSON">) {
    this.#accessToken = accessToken;
    this.tokenType = facts.tokenType;
    this.issuedTokenType = facts.issuedTokenType;
    this.expiresInMs = facts.expiresInMs;
    this.scope = facts.scope;
  }

  static {
    inspectAs(ExchangedToken.prototype, (self) => `ExchangedToken(${self.tokenType}, ${self.issuedTokenType})`);
  }

  /** The new token. Secret. */
  get accessToken(): string {
    return this.#accessToken;
  }

  /** What may be shown: never the token. */
  toJSON(): Record<string, unknown> {
    const { tokenType, issuedTokenType, expiresInMs, scope } = this;
    return { tokenType, issuedTokenType, expiresInMs, scope };
  }
}

/**
 * Exchanges a token at an authorization server (RFC 8693): the workload's own JWT-SVID, or a given one on whose behalf it
 * acts. The client authenticates as by {@link clientAssertion}. No redirect is followed; a request that is answered 401 is
 * sent once more with another JWT-SVID. Nothing is cached here.
 *
 * @param workload a `Workload`, or whatever has a `jwt` source
 * @param options token endpoint, issuer, and what is wanted
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for an endpoint that is neither TLS nor this host, and for an option it does not
 *   know; `ERR_SPIFFE_UPSTREAM` when the
 *   server refuses, with its error code, or answers with something else than a token; and what `JwtSource.fetch` throws
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { tokenExchange, Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * const issued = { access_token: "t", token_type: "Bearer", issued_token_type: "urn:ietf:params:oauth:token-type:jwt" };
 * const server = createServer((_, response) => response.end(JSON.stringify(issued)));
 * await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
 * const issuer = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
 * const token = await tokenExchange(workload, { issuer, endpoint: `${issuer}/token`, audience: "orders" });
 * console.assert(token.accessToken === "t");
 * await new Promise((resolve) => server.close(resolve));
 * ```
 */
export async function tokenExchange(
  workload: { readonly jwt: JwtSvidSource },
  options: TokenExchangeOptions,
): Promise<ExchangedToken> {
  onlyKnown("tokenExchange", options, EXCHANGE);
  if (options.subject !== undefined) onlyKnown("tokenExchange({ subject })", options.subject, SUBJECT);
  const endpoint = endpointOf(options.endpoint);
  const send = options.fetch ?? ((...request) => fetch(...request));
  const wanted = wantedBy(options);
  const ask = (svid: JwtSvid) =>
    send(endpoint.href, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: formOf(options, svid).toString(),
      redirect: "manual",
      ...(options.signal && { signal: options.signal }),
    });
  const svid = await workload.jwt.fetch(wanted);
  let response = await ask(svid);
  if (response.status === 401) {
    const other = await otherToken(workload.jwt, wanted, svid);
    if (other !== undefined) {
      await response.body?.cancel();
      response = await ask(other);
    }
  }
  return tokenOf(endpoint, response.status, await documentOf(endpoint, response));
}

function wantedBy({ issuer, id, signal }: ClientAssertionOptions): Parameters<JwtSvidSource["fetch"]>[0] {
  return { audience: issuer, id, signal };
}

function assertionOf({ token }: JwtSvid): ClientAssertion {
  return { client_assertion_type: ASSERTION_TYPE, client_assertion: token };
}

function endpointOf(text: string | URL): URL {
  if (!URL.canParse(String(text))) {
    const got = JSON.stringify(String(text).slice(0, 100));
    throw new SpiffeError("ERR_SPIFFE_USAGE", `Expected the URL of a token endpoint, got ${got}`, { phase: "request" });
  }
  const url = new URL(text);
  checkTokenTarget(url);
  return url;
}

function formOf(options: TokenExchangeOptions, svid: JwtSvid): URLSearchParams {
  const subject = options.subject ?? { token: svid.token, type: JWT_TYPE };
  const form = new URLSearchParams({
    grant_type: EXCHANGE_GRANT,
    subject_token: subject.token,
    subject_token_type: subject.type,
  });
  for (const name of ["audience", "resource"] as const) {
    for (const value of [options[name] ?? []].flat()) form.append(name, value);
  }
  if (options.scope !== undefined) form.set("scope", options.scope);
  if (options.requestedType !== undefined) form.set("requested_token_type", options.requestedType);
  if (options.client !== "none") for (const [name, value] of Object.entries(assertionOf(svid))) form.set(name, value);
  return form;
}

async function documentOf(endpoint: URL, response: Response): Promise<JsonObject | undefined> {
  const body = await readBody(response, MAX_ANSWER).catch((cause: unknown) => {
    throw refused(endpoint, "its answer broke off", cause);
  });
  const json = body === undefined ? undefined : parseJson(body, { maxBytes: MAX_ANSWER });
  return json?.ok && isJsonObject(json.value) ? json.value : undefined;
}

function tokenOf(endpoint: URL, status: number, answer: JsonObject | undefined): ExchangedToken {
  if (status !== 200) {
    const code = typeof answer?.error === "string" && /^[\w.-]{1,64}$/.test(answer.error) ? `: ${answer.error}` : "";
    throw refused(endpoint, `it refused with status ${status}${code}`);
  }
  const text = (name: string): string | undefined => {
    const value = answer?.[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const [accessToken, tokenType, issuedTokenType] = ["access_token", "token_type", "issued_token_type"].map(text);
  if (accessToken === undefined || tokenType === undefined || issuedTokenType === undefined) {
    throw refused(endpoint, "its answer has no access_token with token_type and issued_token_type");
  }
  const seconds = answer?.expires_in;
  const expiresInMs = typeof seconds === "number" && seconds >= 0 ? seconds * 1_000 : undefined;
  return new ExchangedToken(accessToken, { tokenType, issuedTokenType, expiresInMs, scope: text("scope") });
}

function refused({ origin, pathname }: URL, what: string, cause?: unknown): SpiffeError {
  const sentence = `Expected a token from ${origin}${pathname}, but ${what}`;
  return new SpiffeError("ERR_SPIFFE_UPSTREAM", sentence, { phase: "token-exchange", cause });
}
