import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock, TestCa, testJwtKey } from "../authority/testing.ts";
import { SpiffeBundle } from "../bundle/index.ts";
import { TrustDomain } from "../id/index.ts";
import { X509Bundle } from "../x509/index.ts";
import { BundleSource, type BundleUrlOptions } from "./bundle-source.ts";

const URL_TEXT = "https://bundles.example/spiffe?token=secret";
const OWN = TrustDomain.parse("example.org");
const MINUTE = 60_000;

type Answer = () => Response | Promise<Response>;

const key = await testJwtKey("ES256", "first");
const ca = await TestCa.create({ trustDomain: "example.org" });
const x509 = X509Bundle.fromDer("example.org", ca.rootDer);

/** A bundle document with one JWT key of that name. */
function document(kid = "first", more: Record<string, unknown> = {}): string {
  return JSON.stringify({ keys: [{ ...key.jwk, kid, use: "jwt-svid" }], ...more });
}

const ok =
  (body = document(), init: ResponseInit = {}): Answer =>
  () =>
    new Response(body, init);
const redirect = (location: string | undefined, status = 302): Answer => {
  return () => new Response("moved", { status, headers: location === undefined ? {} : { location } });
};

let clock: ManualClock;
let asked: string[];
let answers: Answer[];
let inits: RequestInit[];

/** Answers in turn; the last answer stays. */
async function fetch(input: unknown, init: RequestInit = {}): Promise<Response> {
  asked.push(String(input));
  inits.push(init);
  const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
  return answer();
}

const open = (options: Partial<BundleUrlOptions> = {}, url: string | URL = URL_TEXT) =>
  BundleSource.fromUrl(url, { trustDomain: "example.org", fetch, clock, ...options });
const held = (source: BundleSource) => source.jwtBundleFor(OWN)?.keys.map(({ keyId }) => keyId);

beforeEach(() => {
  clock = new ManualClock();
  asked = [];
  inits = [];
  answers = [ok()];
});

describe("BundleSource.fromUrl", () => {
  it("[FED-18] gives the bundle of the named trust domain and of no other", async () => {
    answers = [ok(SpiffeBundle.of("example.org", { x509 }).toJson())];
    await using source = await open({ trustDomain: OWN });
    assert.ok(source.x509BundleFor(OWN)?.equals(x509));
    assert.equal(source.jwtBundleFor(OWN)?.isEmpty, true);
    assert.equal(source.x509BundleFor(TrustDomain.parse("bundles.example")), undefined);
    assert.equal(source.state, "ready");
    assert.deepEqual(source.counters, { updates: 1, unchanged: 0, invalid: 0, streams: 1, denied: 0 });
    assert.equal(inits[0]?.redirect, "manual");
    await assert.rejects(open({ trustDomain: undefined as never }), { code: "ERR_SPIFFE_USAGE" });
  });

  for (const url of [
    "http://bundles.example/spiffe",
    "http://127.0.0.1/spiffe",
    "https://user@bundles.example/spiffe",
    "https://:secret@bundles.example/spiffe",
    "spiffe://example.org",
    "/spiffe",
    "",
  ]) {
    it(`[FED-06] [FED-07] refuses the endpoint ${JSON.stringify(url)} before anything is sent`, async () => {
      await assert.rejects(open({}, url), (error: Error & { code: string }) => {
        return error.code === "ERR_SPIFFE_USAGE" && !error.message.includes("secret");
      });
      assert.deepEqual(asked, []);
      await using source = await open({}, new URL(URL_TEXT));
      assert.deepEqual(held(source), ["first"]);
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`[FED-19] [FED-21] follows ${status} to a valid URL, and starts at the configured one each time`, async () => {
      answers = [redirect("https://cdn.example/bundle", status), redirect("../other?y", status), ok(document("b"))];
      await using source = await open();
      assert.deepEqual(asked, [URL_TEXT, "https://cdn.example/bundle", "https://cdn.example/other?y"]);
      assert.deepEqual(held(source), ["b"]);
      await clock.advance(5 * MINUTE);
      assert.equal(asked[3], URL_TEXT);
    });
  }

  const wrong: [what: string, answer: Answer | Answer[], says: RegExp][] = [
    ["[FED-19] a redirect to http:", redirect("http://bundles.example/spiffe"), /redirected to a URL that is http:/],
    ["[FED-19] a redirect to a user name", redirect("https://u:p@bundles.example/"), /that has a user name/],
    ["[FED-19] a redirect to another scheme", redirect("data:application/json,{}"), /that is data:/],
    ["[FED-19] a redirect without a place", redirect(undefined), /status 302/],
    ["[FED-19] a redirect to what is no URL", redirect("https://["), /no URL/],
    ["[FED-19] a loop of redirects", redirect("/spiffe"), /redirected more than 5 times/],
    ["a redirect that the sender followed", () => redirected(), /redirected, unchecked/],
    ["status 201", ok(document(), { status: 201 }), /status 201/],
    ["status 204", () => new Response(null, { status: 204 }), /status 204/],
    ["status 300", ok(document(), { status: 300, headers: { location: "/other" } }), /status 300/],
    ["status 304", () => new Response(null, { status: 304 }), /status 304/],
    ["status 404", ok(document(), { status: 404 }), /status 404/],
    ["status 500", ok(document(), { status: 500 }), /status 500/],
    ["no answer", () => Promise.reject(new TypeError(`no route to ${URL_TEXT}`)), /not be reached \(no route to h/],
    ["a body that breaks off", () => new Response(broken()), /not be reached/],
    ["a body that is too large", ok(`{"keys":[],"x":"${"x".repeat(4_194_304)}"}`), /at most 4194304 bytes/],
    [
      "a body that is too large, where it was sent on to",
      [redirect("https://cdn.example/bundle?signature=secret"), ok(`{"x":"${"x".repeat(4_194_304)}"}`)],
      /at most 4194304 bytes from https:..cdn.example.bundle$/,
    ],
    ["a body that is no bundle", ok("{}"), /keys/],
    ["a truncated body", ok(document().slice(0, -1)), /got the end at offset/],
    ["no keys member but a map", ok('{"trust_domains":{"example.org":{"keys":[]}}}'), /keys/],
    ["PEM", ok(x509.toPem()), /Expected a value/],
  ];
  for (const [what, answer, says] of wrong) {
    it(`refuses ${what}, keeps what it holds, and takes the next good answer`, async () => {
      const lines: unknown[] = [];
      const log = (...line: unknown[]) => void lines.push(line);
      const logger = { debug: log, info: log, warn: log, error: log };
      await using source = await open({ logger });
      const before = source.current;
      answers = [answer].flat();
      await clock.advance(5 * MINUTE);
      assert.match(source.lastError?.message ?? "", says);
      assert.ok(lines.length > 1 && !JSON.stringify(lines).includes("secret"), "the query of a URL may be one");
      assert.equal(source.state, "stale");
      assert.equal(source.current, before);
      answers = [ok(document("b"))];
      await clock.advance(5 * MINUTE);
      assert.deepEqual(held(source), ["b"]);
      assert.equal(source.state, "ready");
    });
  }

  it("takes 4 MiB, any content type, and a bundle without keys", async () => {
    const [head, tail] = ['{"keys":[],"x":"', '"}'];
    const body = head + "x".repeat(4_194_304 - head.length - tail.length) + tail;
    answers = [ok(body, { headers: { "content-type": "text/plain" } })];
    await using source = await open();
    assert.equal(source.jwtBundleFor(OWN)?.isEmpty, true, "[BND-11] nothing is trusted");
    assert.equal(source.x509BundleFor(OWN)?.isEmpty, true);
  });

  it("reads no further once a body is too large", async () => {
    await using source = await open();
    let pulled = 0;
    const large = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new Uint8Array(65_536).fill(0x20));
        if (++pulled === 1_000) controller.close();
      },
    });
    answers = [() => new Response(large)];
    await clock.advance(5 * MINUTE);
    assert.match(source.lastError?.message ?? "", /at most 4194304 bytes/);
    assert.ok(pulled < 100, `${pulled} parts were read`);
  });

  it("[FED-31] refuses a sequence that goes back, also while nothing is held, and takes the same and a later one", async () => {
    const huge = "18446744073709551615";
    answers = [ok(document("a", { spiffe_sequence: 9 }))];
    await using source = await open({ maxAgeMs: 12 * MINUTE });
    const expect = async (kid: string, sequence: string | undefined, taken: boolean) => {
      const member = sequence === undefined ? "" : `,"spiffe_sequence":${sequence}`;
      answers = [ok(`${document(kid).slice(0, -1)}${member}}`)];
      await clock.advance(5 * MINUTE);
      assert.equal(source.lastError?.reason === "bundle.sequence" && source.state === "stale", !taken, kid);
      assert.equal(held(source)?.[0] === kid, taken, kid);
    };
    await expect("b", "8", false);
    await expect("c", "9", true);
    await expect("d", "9007199254740993", true);
    await expect("e", "9007199254740992", false);
    await expect("f", undefined, true);
    await expect("f2", "9007199254740992", false);
    await expect("g", huge, true);
    await expect("h", "9", false);
    answers = [ok("", { status: 500 })];
    await clock.advance(15 * MINUTE);
    assert.equal(source.state, "expired");
    answers = [ok(document("i", { spiffe_sequence: 10 }))];
    await clock.advance(5 * MINUTE);
    assert.equal(source.current, undefined);
    answers = [ok(`${document("j").slice(0, -1)},"spiffe_sequence":${huge}}`)];
    await clock.advance(5 * MINUTE);
    assert.deepEqual(held(source), ["j"]);
  });

  it("[FED-31] takes a document in which one kind of key alone changed, and counts one that says the same", async () => {
    const next = X509Bundle.fromDer("example.org", (await TestCa.create({ trustDomain: "example.org" })).rootDer);
    const say = (authorities: X509Bundle, kid: string) => {
      const { jwt } = SpiffeBundle.parse("example.org", document(kid));
      answers = [ok(SpiffeBundle.of("example.org", { x509: authorities, jwt }).toJson())];
    };
    say(x509, "a");
    await using source = await open();
    const steps: [X509Bundle, string, number][] = [
      [x509, "a", 1],
      [next, "a", 2],
      [next, "b", 3],
      [next, "b", 3],
    ];
    for (const [authorities, kid, updates] of steps) {
      say(authorities, kid);
      await clock.advance(5 * MINUTE);
      assert.equal(source.x509BundleFor(OWN)?.equals(authorities), true);
      assert.deepEqual(held(source), [kid]);
      assert.equal(source.counters.updates, updates);
    }
  });

  for (const [hint, intervalMs] of [
    [undefined, 5 * MINUTE],
    [0, MINUTE],
    [1, MINUTE],
    [120, 2 * MINUTE],
    [3_600, 60 * MINUTE],
    [315_360_000, 60 * MINUTE],
  ] as const) {
    it(`[FED-28] [BND-19] with the refresh hint ${hint} asks again after ${intervalMs / 1_000} s`, async () => {
      answers = [ok(document("a", hint === undefined ? {} : { spiffe_refresh_hint: hint }))];
      await using source = await open();
      await clock.advance(intervalMs - 1);
      assert.equal(asked.length, 1);
      await clock.advance(1);
      assert.equal(asked.length, 2);
      await eventually(() => source.counters.unchanged === 1, "the same bundle again");
    });
  }

  it("[FED-29] after a failed poll waits the whole interval; before the first bundle it tries sooner", async () => {
    answers = [ok("", { status: 503 })];
    const opening = open();
    for (const [wait, count] of [
      [0, 1],
      [1_000, 2],
      [2_000, 3],
      [4_000, 4],
    ] as const) {
      await clock.advance(wait);
      assert.equal(asked.length, count);
    }
    answers = [ok()];
    await clock.advance(8_000);
    await using source = await opening;
    answers = [ok("", { status: 503 })];
    await clock.advance(5 * MINUTE);
    assert.equal(asked.length, 6);
    await clock.advance(5 * MINUTE - 1);
    assert.equal(asked.length, 6);
    await clock.advance(1);
    assert.equal(asked.length, 7);
    assert.deepEqual(held(source), ["first"]);
  });

  it("goes on whatever its logger throws", async () => {
    const log = () => {
      throw new Error("the disk is full");
    };
    await using source = await open({ logger: { debug: log, info: log, warn: log, error: log } });
    assert.equal(source.state, "ready");
    answers = [ok("", { status: 500 })];
    await clock.advance(5 * MINUTE);
    assert.match(source.lastError?.message ?? "", /status 500/);
    answers = [ok(document("b"))];
    await clock.advance(5 * MINUTE);
    assert.deepEqual(held(source), ["b"]);
  });

  it("gives up opening after its time, and names the last trouble", async () => {
    answers = [ok("", { status: 404 })];
    const opening = assert.rejects(open({ timeoutMs: 3_500 }), {
      code: "ERR_SPIFFE_TIMEOUT",
      message: /bundles\.example.*within 3500 ms.*status 404/,
    });
    await clock.advance(3_500);
    await opening;
    await clock.advance(60 * MINUTE);
    assert.equal(asked.length, 3, "nobody asks any more");
    await assert.rejects(open({ signal: AbortSignal.abort() }), { code: "ERR_SPIFFE_ABORTED" });
  });

  it("ends a fetch that does not end by itself, and asks again", async () => {
    await using source = await open();
    answers = [() => new Promise<Response>(() => {})];
    await clock.advance(5 * MINUTE);
    assert.equal(inits[1]?.signal?.aborted, false);
    await clock.advance(10_000);
    assert.equal(inits[1]?.signal?.aborted, true);
    assert.equal(source.lastError?.code, "ERR_SPIFFE_TIMEOUT");
    answers = [ok(document("b"))];
    await clock.advance(5 * MINUTE);
    assert.deepEqual(held(source), ["b"]);
  });

  it("trusts nothing once the bundle was not confirmed for its longest age, until it is again", async () => {
    await using source = await open({ maxAgeMs: 7 * MINUTE });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { jwt } of source.updates()) seen.push(jwt.size);
    })();
    answers = [ok("", { status: 500 })];
    await clock.advance(7 * MINUTE);
    assert.deepEqual(held(source), ["first"]);
    await clock.advance(1);
    assert.deepEqual(seen, [1, 0], "readers are told, whether or not anybody asks");
    assert.equal(source.jwtBundleFor(OWN), undefined);
    assert.equal(source.x509BundleFor(OWN), undefined);
    assert.equal(source.state, "expired");
    assert.equal(source.lastError?.code, "ERR_SPIFFE_EXPIRED");
    const again = source.ready();
    await clock.advance(0);
    answers = [ok()];
    await clock.advance(5 * MINUTE);
    assert.equal(await again, source.current);
    assert.deepEqual(held(source), ["first"]);
    await source.close();
    await reading;
    assert.deepEqual(seen, [1, 0, 1]);
    assert.equal(source.state, "closed");
    await assert.rejects(source.ready(), { code: "ERR_SPIFFE_CLOSED" });
    await assert.rejects(open({ maxAgeMs: 0 }), { code: "ERR_SPIFFE_USAGE" });
  });

  it("trusts a bundle for 24 hours since it was last confirmed, unless told otherwise", async () => {
    await using source = await open();
    answers = [ok("", { status: 500 })];
    await clock.advance(24 * 60 * MINUTE);
    assert.deepEqual(held(source), ["first"]);
    await clock.advance(1);
    assert.equal(source.jwtBundleFor(OWN), undefined);
    assert.equal(source.state, "expired");
  });

  it("[A-17] a wall clock that steps ahead by a year ends the bundle, and has it asked for at once", async () => {
    await using source = await open();
    clock.step(365 * 24 * 60 * MINUTE);
    assert.equal(source.state, "expired");
    assert.equal(source.jwtBundleFor(OWN), undefined);
    await eventually(() => asked.length === 2, "another fetch");
    await eventually(() => held(source)?.[0] === "first", "the confirmed bundle");
    clock.step(-2 * 365 * 24 * 60 * MINUTE);
    assert.deepEqual(held(source), ["first"]);
    assert.equal(asked.length, 2);
  });

  it("on demand: ready() asks when it is time, nobody waits for another's fetch, and no timer runs", async () => {
    await using source = await open({ refresh: "on-demand" });
    await source.ready();
    assert.equal(asked.length, 1);
    await clock.advance(4 * MINUTE);
    await source.ready();
    assert.equal(asked.length, 1);
    answers = [() => new Promise<Response>(() => {})];
    await clock.advance(MINUTE);
    assert.equal(asked.length, 1, "time alone asks nobody");
    const caller = new AbortController();
    const first = source.ready(caller.signal);
    await eventually(() => asked.length === 2, "the first caller's fetch");
    assert.deepEqual(await source.ready(), source.current, "the second is served what is held");
    await clock.advance(10_000);
    assert.equal(await first, source.current, "the bundle that is held serves on");
    answers = [ok(document("b"))];
    await clock.advance(5 * MINUTE);
    await source.ready();
    assert.deepEqual(held(source), ["b"]);
    assert.equal(asked.length, 3);
  });

  it("on demand: with nothing held, ready() asks at once, says why nothing came, and ends with its caller", async () => {
    await using source = await open({ refresh: "on-demand", maxAgeMs: 4 * MINUTE });
    await clock.advance(4 * MINUTE + 1);
    answers = [ok("", { status: 500 })];
    await assert.rejects(source.ready(), { code: "ERR_SPIFFE_EXPIRED" });
    assert.match(source.lastError?.message ?? "", /status 500/);
    answers = [() => new Promise<Response>(() => {})];
    const caller = new AbortController();
    const waiting = source.ready(caller.signal);
    await eventually(() => asked.length === 3, "the caller's fetch");
    caller.abort();
    await assert.rejects(waiting, { code: "ERR_SPIFFE_ABORTED" });
    assert.match(source.lastError?.message ?? "", /status 500/, "who left is no trouble of the endpoint");
    answers = [ok(document("b"))];
    assert.equal(await source.ready(), source.current);
    assert.deepEqual(held(source), ["b"]);
    assert.equal(asked.length, 4);
  });

  it("[FED-31] on demand: an answer that was overtaken by that of a later question does not count", async () => {
    await using source = await open({ refresh: "on-demand", maxAgeMs: 4 * MINUTE });
    await clock.advance(4 * MINUTE + 1);
    let answerFirst: (response: Response) => void = () => {};
    answers = [() => new Promise<Response>((resolve) => (answerFirst = resolve)), ok(document("new"))];
    const first = source.ready();
    await eventually(() => asked.length === 2, "the first caller's fetch");
    await source.ready();
    assert.deepEqual(held(source), ["new"]);
    answerFirst(new Response(document("old")));
    assert.equal(await first, source.current);
    assert.deepEqual(held(source), ["new"]);
    assert.equal(source.counters.updates, 2);
  });

  it("on demand: opening asks again until the first bundle is there", async () => {
    answers = [ok("", { status: 500 }), ok()];
    const opening = open({ refresh: "on-demand" });
    await clock.advance(0);
    assert.equal(asked.length, 1);
    await clock.advance(1_000);
    assert.equal(asked.length, 2);
    await using source = await opening;
    assert.deepEqual(held(source), ["first"]);
  });
});

/** What a sender gives that followed a redirect by itself. */
function redirected(): Response {
  return Object.defineProperty(new Response(document()), "redirected", { value: true });
}

/** A body that ends with an error. */
function broken(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode('{"keys":['));
      controller.error(new Error("broke off"));
    },
  });
}
