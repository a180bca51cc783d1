import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { isSpiffeError } from "../base/index.ts";
import { SpiffeId } from "../id/index.ts";
import { type AuthorizerOutcome, createAuthorizer, type Decision } from "./index.ts";

const id = SpiffeId.parse("spiffe://example.org/web");
const expiresAt = new Date(2 ** 42);
const claims = { tenant: "acme", big: 2n ** 60n };
const peer = { via: "x509", id, expiresAt, token: { id, expiresAt, audience: ["a"], claims } } as const;
const facts = { method: "POST", path: "/orders", host: "a.test", listener: "mesh", route: "orders" };
const allowed: Decision = { verdict: "allow", reason: "policy.allowed", rule: "web", mode: "enforce" };
const denied: Decision = { verdict: "deny", reason: "policy.denied", rule: "no", mode: "enforce" };

/** A real authorizer on loopback that does what the test says. */
let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
let asked = 0;

before(async () => {
  server = createServer((request, response) => {
    asked++;
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    request.on("end", () => answer(request, response, body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/check`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

const says = (status: number, body: string, headers: Record<string, string> = {}) => {
  answer = (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body);
  };
};
const confirm = (decision: Decision = allowed): Promise<AuthorizerOutcome> =>
  createAuthorizer({ url, timeout: "10s", headers: ["X-Plan"] }).confirm(decision, peer, facts);
const told = ({ decision, failure }: AuthorizerOutcome) =>
  `${decision.verdict} ${decision.reason}${failure === undefined ? "" : ` ${failure}`}`;
const GOOD = '{"allow":true,"headers":{"x-plan":"gold"}}';

describe("[S-26] an external authorizer", () => {
  it("gets one JSON object, and what it allows stays allowed with its headers", async () => {
    let question: unknown;
    answer = (request, response, body) => {
      question = [request.method, request.url, request.headers["content-type"], JSON.parse(body)];
      response.writeHead(200, { "content-type": "application/json" }).end(GOOD);
    };
    const outcome = await confirm();
    assert.deepEqual(outcome, { decision: allowed, headers: [["x-plan", "gold"]] });
    const { host, ...rest } = facts;
    const wanted = {
      peer: id.uri,
      via: "x509",
      token: id.uri,
      claims: { tenant: "acme", big: `${2n ** 60n}` },
      host,
      ...rest,
      rule: "web",
    };
    assert.deepEqual(question, ["POST", "/check", "application/json", wanted]);
  });

  it("may deny, with a reason of its own", async () => {
    says(200, '{"allow":false}');
    const outcome = await confirm();
    assert.deepEqual(outcome.decision, {
      rule: "web",
      verdict: "deny",
      reason: "policy.authorizer-denied",
      mode: "enforce",
    });
    assert.equal(outcome.failure, undefined);
    for (const type of ["application/json", "Application/JSON; charset=utf-8"]) {
      says(200, '{"allow":true}', { "content-type": type });
      assert.equal(told(await confirm()), "allow policy.allowed");
    }
  });

  it("does not begin where a proxy could answer a question in plaintext", () => {
    const names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    const before = names.map((name) => [name, process.env[name]] as const);
    const make = (to: string, options = {}) => createAuthorizer({ url: to, timeout: "10s" }, options);
    try {
      for (const name of names) delete process.env[name];
      for (const name of names) {
        process.env[name] = "http://127.0.0.1:9";
        assert.throws(
          () => make(url),
          (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && error.message.includes(name),
        );
        // A proxy sees nothing of TLS, and a fetch of one's own is one's own matter.
        assert.ok(make("https://authorizer.test/check"));
        assert.ok(make(url, { fetch: async () => new Response() }));
        delete process.env[name];
        assert.ok(make(url));
      }
    } finally {
      for (const [name, value] of before) if (value !== undefined) process.env[name] = value;
    }
  });

  it("does not begin in plaintext where nobody may look for a proxy", () => {
    const { env } = process;
    const unreadable = new Proxy({} as typeof env, {
      get() {
        throw new Error("no access to the environment");
      },
    });
    try {
      process.env = unreadable;
      assert.throws(
        () => createAuthorizer({ url }),
        (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && error.message.includes("unreadable environment"),
      );
      assert.ok(createAuthorizer({ url: "https://authorizer.test/check" }));
    } finally {
      process.env = env;
    }
    assert.ok(createAuthorizer({ url }));
  });

  it("is not asked about what the policy denies, and cannot allow it", async () => {
    says(200, GOOD);
    const before = asked;
    assert.deepEqual(await confirm(denied), { decision: denied, headers: [] });
    assert.equal(asked, before);
    await confirm();
    assert.equal(asked, before + 1);
  });

  const failures: [title: string, failure: string, () => void][] = [
    ["500", "status", () => says(500, GOOD)],
    ["403", "status", () => says(403, GOOD)],
    ["204", "status", () => says(204, "")],
    ["206", "status", () => says(206, GOOD)],
    [
      "a redirect to a place that would allow",
      "redirect",
      () => {
        answer = (request, response) => {
          if (request.url === "/yes") response.writeHead(200, { "content-type": "application/json" }).end(GOOD);
          else response.writeHead(302, { location: "/yes" }).end(GOOD);
        };
      },
    ],
    ["junk", "answer", () => says(200, "<html>")],
    ["a good answer as text", "answer", () => says(200, GOOD, { "content-type": "text/plain" })],
    ["as two types", "answer", () => says(200, GOOD, { "content-type": "application/json, text/html" })],
    ["as a type that ends alike", "answer", () => says(200, GOOD, { "content-type": "text/application/json" })],
    ["as a type that begins alike", "answer", () => says(200, GOOD, { "content-type": "application/json2" })],
    [
      "as no type",
      "answer",
      () => {
        answer = (_, response) => void response.writeHead(200).end(GOOD);
      },
    ],
    ["an empty body", "answer", () => says(200, "")],
    ["a list", "answer", () => says(200, "[true]")],
    ["null", "answer", () => says(200, "null")],
    ["a bare true", "answer", () => says(200, "true")],
    ["text in place of true", "answer", () => says(200, '{"allow":"true"}')],
    ["one in place of true", "answer", () => says(200, '{"allow":1}')],
    ["a member it does not know", "answer", () => says(200, '{"allow":true,"unless":"x"}')],
    ["allow twice", "answer", () => says(200, '{"allow":false,"allow":true}')],
    ["two answers", "answer", () => says(200, `${GOOD}${GOOD}`)],
    [
      "a header that is not on the list",
      "answer",
      () => says(200, '{"allow":true,"headers":{"x-spiffe-id":"spiffe://a/b"}}'),
    ],
    [
      "a header twice in two spellings",
      "answer",
      () => says(200, '{"allow":true,"headers":{"x-plan":"a","X_Plan":"b"}}'),
    ],
    [
      "a header value with a line break",
      "answer",
      () => says(200, '{"allow":true,"headers":{"x-plan":"a\\r\\nx-spiffe-id: b"}}'),
    ],
    ["a header value that is no text", "answer", () => says(200, '{"allow":true,"headers":{"x-plan":["a"]}}')],
    ["headers that are a list", "answer", () => says(200, '{"allow":true,"headers":[]}')],
    ["headers that are null", "answer", () => says(200, '{"allow":true,"headers":null}')],
    ["headers that are text", "answer", () => says(200, '{"allow":true,"headers":""}')],
    ["no verdict", "answer", () => says(200, '{"headers":{"x-plan":"gold"}}')],
    ["a deny with a member it does not know", "answer", () => says(200, '{"allow":false,"unless":"x"}')],
    ["a header value without a character", "answer", () => says(200, '{"allow":true,"headers":{"x-plan":""}}')],
    ["a header value that begins with a blank", "answer", () => says(200, '{"allow":true,"headers":{"x-plan":" a"}}')],
    ["a header value that ends in one", "answer", () => says(200, '{"allow":true,"headers":{"x-plan":"a "}}')],
    ["a header value beyond ASCII", "answer", () => says(200, '{"allow":true,"headers":{"x-plan":"\u00e4"}}')],
    ["an endless body", "answer", () => says(200, `{"allow":true,${" ".repeat(70_000)}"headers":{}}`)],
    [
      "a reset",
      "unreachable",
      () => {
        answer = (request) => void request.socket.resetAndDestroy();
      },
    ],
    [
      "a body that breaks off",
      "unreachable",
      () => {
        answer = (request, response) => {
          response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
          response.write(GOOD, () => request.socket.destroy());
        };
      },
    ],
  ];
  for (const [title, failure, misbehave] of failures) {
    it(`[A-20] ${title} denies, told apart from a deny`, async () => {
      misbehave();
      assert.equal(told(await confirm()), `deny policy.authorizer-${failure} ${failure}`);
      says(200, GOOD);
      assert.equal(told(await confirm()), "allow policy.allowed");
    });
  }

  it("[A-20] nobody at home denies", async () => {
    const gone = createAuthorizer({ url: "http://127.0.0.1:1/" });
    assert.equal(told(await gone.confirm(allowed, peer, facts)), "deny policy.authorizer-unreachable unreachable");
  });

  /** A question that is never answered, and what the clock then makes of it. */
  const slow = async (end: (clock: ManualClock, abort: AbortController) => void, body: boolean) => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const arrived = new Promise<void>((resolve) => {
      answer = (_, response) => {
        if (body) response.writeHead(200, { "content-type": "application/json" }).write('{"allow":');
        resolve();
      };
    });
    const authorizer = createAuthorizer({ url, timeout: "200ms" }, { clock });
    const outcome = authorizer.confirm(allowed, peer, facts, abort.signal);
    await arrived;
    end(clock, abort);
    return told(await outcome);
  };
  for (const [title, body] of [
    ["an answer", false],
    ["the rest of an answer", true],
  ] as const) {
    it(`[A-20] ${title} that does not come in time denies`, async () => {
      const late = (clock: ManualClock) => clock.advance(200);
      assert.equal(await slow(late, body), "deny policy.authorizer-timeout timeout");
    });
  }

  it("a caller that goes away ends the question", async () => {
    assert.equal(await slow((_, abort) => abort.abort(), false), "deny policy.authorizer-unreachable unreachable");
  });

  it("nor is one asked whose caller has gone before, even by a fetch that never ends", async () => {
    const never = { clock: new ManualClock(), fetch: () => new Promise<Response>(() => {}) };
    const abort = new AbortController();
    const outcome = createAuthorizer({ url }, never).confirm(allowed, peer, facts, abort.signal);
    abort.abort();
    assert.equal(told(await outcome), "deny policy.authorizer-unreachable unreachable");
    const late = createAuthorizer({ url }, never).confirm(allowed, peer, facts, abort.signal);
    assert.equal(told(await late), "deny policy.authorizer-unreachable unreachable");
    says(200, GOOD);
    const again = createAuthorizer({ url, headers: ["x-plan"] });
    const gone = await again.confirm(allowed, peer, facts, abort.signal);
    assert.equal(told(gone), "deny policy.authorizer-unreachable unreachable");
    assert.equal(told(await again.confirm(allowed, peer, facts)), "allow policy.allowed");
  });

  it("a fetch that throws, never settles or follows redirects itself gains nothing", async () => {
    const ask = (fetch: () => Promise<Response>) =>
      createAuthorizer({ url, timeout: "50ms" }, { fetch }).confirm(allowed, peer, facts);
    const throwing = () => {
      throw new Error("no network");
    };
    assert.equal(told(await ask(throwing)), "deny policy.authorizer-unreachable unreachable");
    assert.equal(told(await ask(() => new Promise(() => {}))), "deny policy.authorizer-timeout timeout");
    const followed = async () => {
      const response = Response.json({ allow: true });
      Object.defineProperty(response, "redirected", { value: true });
      return response;
    };
    assert.equal(told(await ask(followed)), "deny policy.authorizer-redirect redirect");
    const hidden = async () => ({ status: 0, type: "opaqueredirect", redirected: false, body: null }) as Response;
    assert.equal(told(await ask(hidden)), "deny policy.authorizer-redirect redirect");
    const bodiless = async () => ({ status: 200, headers: Response.json({}).headers, body: null }) as Response;
    assert.equal(told(await ask(bodiless)), "deny policy.authorizer-answer answer");
    assert.equal(told(await ask(async () => Response.json({ allow: true }))), "allow policy.allowed");
  });
});

describe("settings of an authorizer", () => {
  const good = { url: "https://pdp.example/check", timeout: "200ms", headers: ["x-plan"] };
  const reserved = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "X-Forwarded-Client-Cert",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
  ];
  const cases: [title: string, input: unknown, message: RegExp][] = [
    ...reserved.map((name): (typeof cases)[number] => {
      return [name, { ...good, headers: ["x-plan", name] }, /headers\[1\]: ".*" is not for an authorizer to set/];
    }),
    ["headers that are no list", { ...good, headers: "x-plan" }, /headers: is not a list of strings/],
    ["a header name of 65 letters", { ...good, headers: ["x".repeat(65)] }, /is no header name/],
    ["a header name with a line break", { ...good, headers: ["x-plan\r\nx-a"] }, /is no header name/],
    ["a fragment", { ...good, url: "https://pdp.example/#a" }, /holds more than an address/],
    ["a user without a password", { ...good, url: "https://a@pdp.example/" }, /holds more than an address/],
    ["a password alone", { ...good, url: "https://:b@pdp.example/" }, /holds more than an address/],
    ["plaintext to a name that ends alike", { ...good, url: "http://evil.localhost/" }, /plaintext to another machine/],
    ["a timeout that is just too long", { ...good, timeout: "10001ms" }, /is no timeout/],
    ["no timeout at all", { ...good, timeout: "0ms" }, /is no timeout/],
    ["a timeout with more behind it", { ...good, timeout: "1s or so" }, /is no timeout/],
    ["a timeout with more before it", { ...good, timeout: "-1s" }, /is no timeout/],
    ["null", null, /is not a block of keys/],
    ["a list", [good], /is not a block of keys/],
    ["no url", { timeout: "1s" }, /authorizer\.url: is missing/],
    ["a url that is none", { ...good, url: "pdp" }, /url: is no address/],
    ["another scheme", { ...good, url: "ftp://a/" }, /url: is no address/],
    ["plaintext to another machine", { ...good, url: "http://pdp.example/" }, /plaintext to another machine/],
    [
      "plaintext to a name that begins alike",
      { ...good, url: "http://127.0.0.1.evil/" },
      /plaintext to another machine/,
    ],
    ["a password", { ...good, url: "https://a:b@pdp.example/" }, /holds more than an address/],
    ["a timeout without unit", { ...good, timeout: 200 }, /timeout: 200 is no timeout/],
    ["a timeout that is too long", { ...good, timeout: "11s" }, /is no timeout/],
    ["an identity header", { ...good, headers: ["X_Spiffe_Id"] }, /is no header name/],
    ["an identity header, spelled well", { ...good, headers: ["x-spiffe-id"] }, /not for an authorizer to set/],
    ["a framing header", { ...good, headers: ["Content-Length"] }, /not for an authorizer to set/],
    ["an unknown key", { ...good, failOpen: true }, /failOpen: unknown key/],
    ["no block", "https://a/", /is not a block of keys/],
  ];
  it("the twin of all of them is taken", () => {
    assert.deepEqual(createAuthorizer(good).headers, ["x-plan"]);
    for (const local of ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost/"])
      createAuthorizer({ url: local });
    for (const timeout of ["10s", "10000ms", "1ms"]) createAuthorizer({ ...good, timeout });
    const headers = ["x-plan-via", "my-cookie", "tenant", "host-name", "x".repeat(64)];
    assert.deepEqual(createAuthorizer({ ...good, headers }).headers, headers);
    assert.deepEqual(createAuthorizer({ url: good.url }).headers, []);
  });
  for (const [title, input, message] of cases) {
    it(`refuses ${title}`, () => {
      assert.throws(
        () => createAuthorizer(input),
        (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_CONFIG") && message.test(error.message),
      );
    });
  }
});
