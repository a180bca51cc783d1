import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { inspect } from "node:util";
import { Authority, signTestJwt, testJwtKey } from "../authority/testing.ts";
import { systemClock } from "../base/clock.ts";
import { safeValidateJwtSvid } from "../jwt/index.ts";
import { clientAssertion, type TokenExchangeOptions, tokenExchange } from "./oauth.ts";
import { Workload } from "./workload.ts";

const ACCESS_TOKEN = "the-access-token";
const JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt";

/** An authorization server as far as these grants go. It knows the trust domain's bundle, and validates what it gets. */
class AuthorizationServer {
  readonly forms: URLSearchParams[] = [];
  readonly tokens: string[] = [];
  /** Answers in place of the right one. */
  scripted: { status: number; body: string; location?: string } | undefined;
  unauthorized = 0;
  onUnauthorized: () => void = () => {};
  readonly #server: Server;
  readonly #workload: Workload;

  constructor(workload: Workload) {
    this.#workload = workload;
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const form = new URLSearchParams(body);
      this.forms.push(form);
      const type = request.headers["content-type"];
      const good =
        request.method === "POST" && request.url === "/token" && type === "application/x-www-form-urlencoded";
      const answer = this.scripted ?? (good ? await this.#judge(form) : { status: 404, body: "" });
      const { location } = { location: undefined, ...answer };
      const headers = { "content-type": "application/json", ...(location !== undefined && { location }) };
      response.writeHead(answer.status, headers).end(answer.body);
    });
  }

  get issuer(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get endpoint(): string {
    return `${this.issuer}/token`;
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  close(): void {
    this.#server.close().closeAllConnections();
  }

  async #isSvid(token: string | null, soleAudience: boolean): Promise<boolean> {
    this.tokens.push(token ?? "");
    const verdict = await safeValidateJwtSvid(token ?? "", this.#workload.bundles, { audience: this.issuer });
    return verdict.ok && (!soleAudience || verdict.value.audience.length === 1);
  }

  async #judge(form: URLSearchParams): Promise<{ status: number; body: string }> {
    const refuse = (status: number, error: string) => ({ status, body: JSON.stringify({ error }) });
    if (this.unauthorized > 0) {
      this.unauthorized--;
      this.onUnauthorized();
      return refuse(401, "invalid_client");
    }
    const assertion = form.get("client_assertion");
    if (assertion !== null) {
      if (form.get("client_assertion_type") !== "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe")
        return refuse(400, "invalid_request");
      if (!(await this.#isSvid(assertion, true))) return refuse(401, "invalid_client");
    }
    const issue = (more: object) => ({
      status: 200,
      body: JSON.stringify({ access_token: ACCESS_TOKEN, token_type: "Bearer", expires_in: 60, ...more }),
    });
    if (form.get("grant_type") === "client_credentials") {
      return assertion === null ? refuse(401, "invalid_client") : issue({});
    }
    if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:token-exchange")
      return refuse(400, "unsupported_grant_type");
    const own = form.get("subject_token_type") === JWT_TYPE && (await this.#isSvid(form.get("subject_token"), false));
    if (!own && form.get("subject_token") !== "of-a-user") return refuse(400, "invalid_grant");
    return issue({ issued_token_type: "urn:ietf:params:oauth:token-type:access_token", scope: "read" });
  }
}

describe("OAuth 2.0", () => {
  let authority: Authority;
  let workload: Workload;
  let server: AuthorizationServer;
  let aheadMs = 0;

  const exchange = (options: Partial<TokenExchangeOptions> = {}) =>
    tokenExchange(workload, { issuer: server.issuer, endpoint: server.endpoint, ...options });

  before(async () => {
    authority = await Authority.start({
      trustDomain: "example.org",
      clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
      entries: [{ id: "spiffe://example.org/web", socket: "web" }],
    });
    workload = await Workload.open({ socket: authority.socketFor("web") });
    server = new AuthorizationServer(workload);
    await server.listen();
  });

  beforeEach(() => {
    server.scripted = undefined;
    server.unauthorized = 0;
    server.forms.length = 0;
    server.tokens.length = 0;
  });

  after(async () => {
    server.close();
    await workload.close();
    await authority.close();
  });

  it("a client assertion is accepted by its issuer, and one for another issuer is not", async () => {
    const ask = async (issuer: string) => {
      const proof = await clientAssertion(workload, { issuer });
      const body = new URLSearchParams({ grant_type: "client_credentials", ...proof });
      return (await fetch(server.endpoint, { method: "POST", body: body.toString(), headers: FORM })).status;
    };
    assert.equal(await ask(server.issuer), 200);
    assert.equal(await ask("https://other.example"), 401);
  });

  it("a client assertion signed by a foreign key is refused", async () => {
    const claims = { sub: "spiffe://example.org/web", aud: [server.issuer] };
    const forged = await signTestJwt({ key: await testJwtKey("ES256"), claims });
    const right = await workload.jwt.fetch({ audience: server.issuer });
    for (const [token, status] of [
      [forged, 401],
      [right.token, 200],
    ] as const) {
      const jwt = { fetch: async () => ({ ...right, token }) as typeof right };
      const proof = await clientAssertion({ jwt }, { issuer: server.issuer });
      const body = new URLSearchParams({ grant_type: "client_credentials", ...proof }).toString();
      assert.equal((await fetch(server.endpoint, { method: "POST", body, headers: FORM })).status, status);
    }
  });

  it("exchanges the own JWT-SVID, and sends what was asked for", async () => {
    const token = await exchange({
      audience: ["orders", "reports"],
      resource: "https://orders.example/",
      scope: "read write",
      requestedType: JWT_TYPE,
    });
    assert.equal(token.accessToken, ACCESS_TOKEN);
    assert.equal(token.tokenType, "Bearer");
    assert.equal(token.issuedTokenType, "urn:ietf:params:oauth:token-type:access_token");
    assert.equal(token.expiresInMs, 60_000);
    assert.equal(token.scope, "read");
    const [form] = server.forms;
    assert.deepEqual(form?.getAll("audience"), ["orders", "reports"]);
    assert.deepEqual(form?.getAll("resource"), ["https://orders.example/"]);
    assert.equal(form?.get("scope"), "read write");
    assert.equal(form?.get("requested_token_type"), JWT_TYPE);
    assert.equal(form?.get("subject_token"), form?.get("client_assertion"));
  });

  it("exchanges a given token in the workload's name, or without a client", async () => {
    const subject = { token: "of-a-user", type: "urn:ietf:params:oauth:token-type:access_token" };
    assert.equal((await exchange({ subject })).accessToken, ACCESS_TOKEN);
    assert.equal(server.forms[0]?.get("subject_token"), "of-a-user");
    assert.ok(server.forms[0]?.get("client_assertion"));
    await exchange({ client: "none" });
    assert.equal(server.forms[1]?.get("client_assertion"), null);
    const foreign = { ...subject, token: "of-nobody" };
    await assert.rejects(exchange({ subject: foreign }), {
      code: "ERR_SPIFFE_UPSTREAM",
      message: /400: invalid_grant/,
    });
  });

  it("[S-20] after 401 asks once more with another token, and no more than once", async () => {
    server.onUnauthorized = () => {
      aheadMs += 1_000;
    };
    server.unauthorized = 1;
    const cancelled: boolean[] = [];
    await exchange({
      async fetch(input, init) {
        const response = await fetch(input, init);
        if (response.status !== 401) return response;
        return new Response(new ReadableStream({ cancel: () => void cancelled.push(true) }), { status: 401 });
      },
    });
    assert.deepEqual(cancelled, [true], "what is not read holds no connection");
    assert.equal(server.forms.length, 2);
    const said = ["client_assertion", "client_assertion_type", "grant_type", "subject_token", "subject_token_type"];
    assert.deepEqual([...(server.forms[1]?.keys() ?? [])].sort(), said, "and nothing that was not given");
    assert.notEqual(server.forms[0]?.get("client_assertion"), server.forms[1]?.get("client_assertion"));
    server.unauthorized = 2;
    await assert.rejects(exchange(), { code: "ERR_SPIFFE_UPSTREAM", message: /401: invalid_client/ });
    assert.equal(server.forms.length, 4);
  });

  it("[S-20] sends nothing in plaintext to another host, and follows no redirect", async () => {
    for (const endpoint of ["http://login.example/token", "https://u:p@login.example/token", "/token"]) {
      await assert.rejects(exchange({ endpoint }), { code: "ERR_SPIFFE_USAGE" }, endpoint);
    }
    server.scripted = { status: 307, body: "", location: "/token" };
    await assert.rejects(exchange(), { code: "ERR_SPIFFE_UPSTREAM", message: /status 307$/ });
    assert.equal(server.forms.length, 1);
    server.scripted = undefined;
    await exchange({ endpoint: new URL(server.endpoint) });
  });

  const whole = { access_token: "t", token_type: "Bearer", issued_token_type: JWT_TYPE };
  const answers: [what: string, status: number, body: string, says: RegExp | undefined][] = [
    ["a whole answer", 200, JSON.stringify(whole), undefined],
    ["no access token", 200, JSON.stringify({ ...whole, access_token: undefined }), /no access_token/],
    ["an empty access token", 200, JSON.stringify({ ...whole, access_token: "" }), /no access_token/],
    ["no token type", 200, JSON.stringify({ ...whole, token_type: 1 }), /no access_token/],
    ["no issued token type", 200, JSON.stringify({ ...whole, issued_token_type: null }), /no access_token/],
    ["a member twice", 200, `{"access_token":"t",${JSON.stringify(whole).slice(1)}`, /no access_token/],
    ["a list", 200, JSON.stringify([whole]), /no access_token/],
    ["a page", 200, "<html>", /no access_token/],
    ["nothing", 200, "", /no access_token/],
    ["too much", 200, JSON.stringify({ ...whole, more: "x".repeat(70_000) }), /no access_token/],
    ["another status", 201, JSON.stringify(whole), /status 201$/],
    ["a refusal with an odd code", 400, JSON.stringify({ error: "a b\n" }), /status 400$/],
    ["a refusal with an odd code in front", 400, JSON.stringify({ error: "a b\ninvalid_grant" }), /status 400$/],
    ["a refusal with a page", 500, "<html>", /status 500$/],
  ];
  for (const [what, status, body, says] of answers) {
    it(`an answer with ${what} ${says === undefined ? "is taken" : "is refused"}`, async () => {
      server.scripted = { status, body };
      if (says === undefined) assert.equal((await exchange()).accessToken, "t");
      else await assert.rejects(exchange(), { code: "ERR_SPIFFE_UPSTREAM", message: says });
    });
  }

  it("tells how long the new token lives where the server says it in seconds, and nothing else", async () => {
    for (const [said, told] of [
      [60, 60_000],
      [0, 0],
      [-1, undefined],
      ["60", undefined],
      [null, undefined],
      [undefined, undefined],
    ] as const) {
      server.scripted = { status: 200, body: JSON.stringify({ ...whole, expires_in: said }) };
      assert.equal((await exchange()).expiresInMs, told, `${said}`);
    }
  });

  it("gives the caller's signal to the sender, and says so when an answer breaks off", async () => {
    const { signal } = new AbortController();
    const signals: unknown[] = [];
    const answer = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) });
    const send = async (_: unknown, init?: RequestInit) => {
      signals.push(init?.signal);
      return signals.length === 1 ? new Response(answer) : new Response(JSON.stringify(whole));
    };
    await assert.rejects(exchange({ signal, fetch: send }), { code: "ERR_SPIFFE_UPSTREAM", message: /broke off$/ });
    assert.equal((await exchange({ fetch: send })).accessToken, "t");
    assert.deepEqual(signals, [signal, undefined]);
  });

  it("no token is in an error, in JSON or in a log of the result", async () => {
    const token = await exchange();
    for (const shown of [inspect(token, { depth: 9, showHidden: true }), JSON.stringify(token), String(token)]) {
      assert.ok(!shown.includes(ACCESS_TOKEN), shown);
    }
    server.scripted = { status: 400, body: JSON.stringify({ error: "x", error_description: server.tokens[0] }) };
    await assert.rejects(exchange(), (error: Error) => {
      const shown = inspect(error, { depth: 9 });
      return !shown.includes(server.tokens[0]!);
    });
  });
});

const FORM = { "content-type": "application/x-www-form-urlencoded" };
