/** `spiffe-edge call` from outside: what goes where, and that nothing goes to a peer that is not who was said. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { Authority } from "../src/authority/index.ts";
import { isSpiffeError } from "../src/base/index.ts";
import { type RequestOptions, requestOf } from "../src/cli/call/request.ts";
import { validateJwtSvid } from "../src/jwt/index.ts";
import { authorizeId, type Handler, listen, peerOf, type TlsListener } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";
import { type Ended, spiffeEdge } from "./support/programs.ts";

const TD = "x0tta6bl4.local";
const ORDERS = `spiffe://${TD}/orders`;
const WEB = `spiffe://${TD}/web`;
const AUDIENCE = "orders";
const ENTRIES = ["orders", "web"].map((name) => ({ id: `spiffe://${TD}/${name}`, socket: name }));
const LARGE = "0123456789abcdef".repeat(65_536);

let folder: string;
let authority: Authority;
let orders: Workload;
let server: TlsListener;
let picky: TlsListener;
let requests: string[];

const handler: Handler = async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const path = request.url ?? "";
  requests.push(`${request.method} ${path}`);
  if (path === "/never") return;
  if (path === "/large") return void response.end(LARGE);
  const bearer = /^Bearer (.+)$/.exec(String(request.headers.authorization ?? ""))?.[1];
  const token = bearer && (await validateJwtSvid(bearer, orders.jwt, { audience: AUDIENCE })).id.uri;
  response.writeHead(path === "/denied" ? 403 : 200, { "x-answer": "42" });
  const { "x-one": one, "x-two": two } = request.headers;
  response.end(JSON.stringify({ peer: peerOf(request).id, method: request.method, body, one, two, token }));
};

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "call-"));
  authority = await Authority.start({ trustDomain: TD, entries: ENTRIES });
  orders = await Workload.open({ socket: authority.socketFor("orders") });
  const options = { port: 0, address: "127.0.0.1", throttle: false as const, handler };
  server = await listen(orders, options);
  picky = await listen(orders, { ...options, authorize: authorizeId(`spiffe://${TD}/somebody`) });
});

beforeEach(() => {
  requests = [];
});

after(async () => {
  await Promise.all([server.close({ deadlineMs: 0 }), picky.close({ deadlineMs: 0 })]);
  await orders.close();
  await authority.close();
  rmSync(folder, { recursive: true, force: true });
});

function call(path: string, args: readonly string[], options: { port?: number; host?: string; input?: string } = {}) {
  const url = `https://${options.host ?? "127.0.0.1"}:${options.port ?? server.port}${path}`;
  const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("web") };
  return spiffeEdge(["call", url, ...args], { env, ...(options.input !== undefined && { input: options.input }) });
}

const to = (id: string) => ["--peer", id];

function assertSentence(ended: Ended, code: number, words: RegExp): void {
  assert.equal(ended.code, code, ended.stderr);
  assert.equal(ended.stdout, "");
  assert.match(ended.stderr, /^spiffe-edge: [^\n]+\n$/);
  assert.doesNotMatch(ended.stderr, /\bat .*:\d+:\d+|undefined|\[object/);
  assert.match(ended.stderr, words);
}

describe("spiffe-edge call", () => {
  it("prints the body on stdout, and who answered, how and how fast on stderr", async () => {
    const ended = await call("/", to(ORDERS), { host: "localhost" });
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(JSON.parse(ended.stdout), { peer: WEB, method: "GET", body: "" });
    const number = String.raw`\d+\.\d+ ms`;
    const lines = [
      `peer       ${ORDERS}`,
      `chain      ${ORDERS}  serial [0-9a-f]+  until \\S+Z`,
      `trusted    spiffe://${TD}  serial [0-9a-f]+  in the bundle of ${TD}`,
      `status     200 OK  GET https://localhost:\\d+/`,
      `timings    dns ${number}, tcp ${number}, handshake ${number}, verification ${number}, first byte ${number}, body ${number}, total ${number}`,
    ];
    assert.match(ended.stderr, new RegExp(`^${lines.join("\n")}\n$`));
  });

  it("--include prints status and headers before the body", async () => {
    const ended = await call("/", [...to(ORDERS), "--include"]);
    assert.match(
      ended.stdout,
      /^HTTP\/1\.1 200 OK\n(?:[\w-]+: [^\n]*\n)*x-answer: 42\n(?:[\w-]+: [^\n]*\n)*\n\{"peer"/,
    );
  });

  it("--method, --header and --data make the request, the data from the command line, a file or stdin", async () => {
    const file = join(folder, "body");
    writeFileSync(file, "from a file");
    const headers = ["--header", "x-one: 1", "--header", "X-Two:2"];
    for (const [data, body, input] of [
      ["text", "text"],
      [`@${file}`, "from a file"],
      ["@-", "from stdin", "from stdin"],
    ] as const) {
      const ended = await call("/", [...to(ORDERS), ...headers, "--data", data], input === undefined ? {} : { input });
      assert.deepEqual(JSON.parse(ended.stdout), { peer: WEB, method: "POST", body, one: "1", two: "2" }, ended.stderr);
    }
    const put = await call("/", [...to(ORDERS), "--method", "put", "--data", ""]);
    assert.equal((JSON.parse(put.stdout) as { method: string }).method, "PUT");
  });

  it("--jwt sends a token for its audience, and shows it nowhere", async () => {
    const ended = await call("/", [...to(ORDERS), "--jwt", AUDIENCE, "--include"]);
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, new RegExp(`"token":"${WEB}"`));
    assert.doesNotMatch(`${ended.stdout}${ended.stderr}`, /eyJ|Bearer/);
  });

  it("--hint takes the SVID with it, and the token of the same identity", async () => {
    const entry = (name: string, socket: string, hint: string) => ({ id: `spiffe://${TD}/${name}`, socket, hint });
    const several = [entry("first", "two", "a"), entry("second", "two", "b")];
    await authority.setEntries([...ENTRIES, ...several]);
    const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("two") };
    const url = `https://127.0.0.1:${server.port}/`;
    for (const [args, name] of [
      [[], "first"],
      [["--hint", "b"], "second"],
    ] as const) {
      const ended = await spiffeEdge(["call", url, ...to(ORDERS), "--jwt", AUDIENCE, ...args], { env });
      const { peer, token } = JSON.parse(ended.stdout) as { peer: string; token: string };
      assert.deepEqual([peer, token], [`spiffe://${TD}/${name}`, `spiffe://${TD}/${name}`], ended.stderr);
    }
    requests = [];
    const absent = await spiffeEdge(["call", url, ...to(ORDERS), "--hint", "c"], { env });
    assertSentence(absent, 1, /own SVID with the hint "c", but there are \S+\/first with "a", \S+\/second with "b"/);
    assert.deepEqual(requests, []);
  });

  it("a large body arrives whole", async () => {
    assert.equal((await call("/large", to(ORDERS))).stdout, LARGE);
  });

  it("a status from 400 on is code 1, with the body", async () => {
    const ended = await call("/denied", to(ORDERS));
    assert.equal(ended.code, 1);
    assert.match(ended.stdout, /^\{"peer"/);
    assert.match(ended.stderr, /^status {5}403 Forbidden {2}GET https:/m);
  });
});

describe("spiffe-edge call: refusals", () => {
  it("[S-5] sends nothing to a peer that is not the one that was said", async () => {
    const wrong = await call("/", [...to(WEB), "--data", "secret", "--jwt", AUDIENCE]);
    assertSentence(wrong, 1, /not who was expected: Expected spiffe:\/\/x0tta6bl4\.local\/web, got \S+\/orders/);
    const listed = await call("/", [...to(WEB), ...to(`spiffe://${TD}/other`)]);
    assertSentence(listed, 1, /Expected one of 2 listed IDs/);
    assert.deepEqual(requests, []);
    const right = await call("/", [...to(WEB), ...to(ORDERS)]);
    assert.equal(right.code, 0, right.stderr);
    assert.deepEqual(requests, ["GET /"]);
  });

  it("a peer that refuses this workload, one that never answers, and one that is not there", async () => {
    const refused = await call("/", to(ORDERS), { port: picky.port });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /\nspiffe-edge: [^\n]*may have refused this workload's SVID[^\n]*\n$/);
    let silent: Ended;
    // a busy machine may need more time than this for all that comes before the answer
    let ms = 350;
    do silent = await call("/never", [...to(ORDERS), "--timeout", `${(ms *= 2)}ms`]);
    while (requests.length === 0 && ms < 20_000);
    assert.equal(silent.code, 1);
    assert.match(
      silent.stderr,
      /\nspiffe-edge: The signal's time for [^\n]* ran out\. Give the call more time[^\n]*\n$/,
    );
    assertSentence(await call("/", to(ORDERS), { port: 1 }), 1, /Expected to reach 127\.0\.0\.1:1/);
    const plain: Server = createServer((socket) => {
      socket.on("error", () => {});
      socket.resume().end("HTTP/1.1 200 OK\r\n\r\n");
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const { port } = plain.address() as { port: number };
    assertSentence(await call("/", to(ORDERS), { port }), 1, /Expected a TLS 1\.3 handshake with 127\.0\.0\.1/);
    plain.close();
  });
});

describe("spiffe-edge call: usage", () => {
  it("--help explains itself", async () => {
    const ended = await spiffeEdge(["call", "--help"]);
    assert.match(ended.stdout, /^Usage: spiffe-edge call \[options\] <url>\n[\s\S]*\nExamples:\n {2}spiffe-edge call /);
  });

  const outside: [name: string, args: string[], words: RegExp][] = [
    ["no peer", ["https://a.example/"], /--peer.*See: spiffe-edge call --help/],
    ["no URL", ["--peer", ORDERS], /missing required argument 'url'/],
    ["a peer that is no ID", ["https://a.example/", "--peer", "orders"], /SPIFFE ID after --peer/],
    ["http", ["http://a.example/", ...to(ORDERS)], /an https: URL/],
    ["a time that is none", ["https://a.example/", ...to(ORDERS), "--timeout", "0s"], /duration/],
  ];
  for (const [name, args, words] of outside) {
    it(`${name} ends with code 2 before anyone is asked`, async () => {
      const env = { SPIFFE_ENDPOINT_SOCKET: "unix:///nowhere.sock" };
      assertSentence(await spiffeEdge(["call", ...args], { env }), 2, words);
    });
  }

  const requestCases: [name: string, url: string, options: RequestOptions, words: RegExp | undefined][] = [
    ["nothing special", "https://a.example/", {}, undefined],
    ["something else than a URL", "a.example", {}, /an absolute URL/],
    ["a password", "https://u:p@a.example/", {}, /without user name/],
    ["a header", "https://a.example/", { header: ["x: a"] }, undefined],
    ["a header without a colon", "https://a.example/", { header: ["x"] }, /name: value/],
    ["a header of two lines", "https://a.example/", { header: ["x: a\r\ny: b"] }, /name: value/],
    ["a header without a name", "https://a.example/", { header: [": a"] }, /name: value/],
    ["a token", "https://a.example/", { jwt: "a" }, undefined],
    ["two who call", "https://a.example/", { jwt: "a", header: ["Authorization: b"] }, /Leave one|say who calls/],
    ["a file that is not there", "https://a.example/", { data: "@/no/such" }, /\/no\/such.*ENOENT/],
    ["a body with GET", "https://a.example/", { method: "GET", data: "x" }, /no body with GET/],
    ["a method that is none", "https://a.example/", { method: "CONNECT" }, /another method/],
  ];
  it("a request is judged before anyone is asked", () => {
    for (const [name, url, options, words] of requestCases) {
      const judge = () => requestOf(url, options, new AbortController().signal);
      if (words === undefined) assert.equal(judge().url.href, url, name);
      else assert.throws(judge, (error) => isSpiffeError(error, "ERR_SPIFFE_USAGE") && words.test(error.message), name);
    }
  });

  it("without a Workload API it ends with code 2, and with one that is not there with code 1", async () => {
    const args = ["call", "https://127.0.0.1:1/", ...to(ORDERS)];
    assertSentence(await spiffeEdge(args), 2, /SPIFFE_ENDPOINT_SOCKET/);
    assertSentence(await spiffeEdge([...args, "--socket", "unix:///nowhere.sock"]), 1, /no such socket/);
  });
});
