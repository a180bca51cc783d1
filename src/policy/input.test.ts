import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkRequest } from "../gateway/target.ts";
import { safeReadInput } from "./input.ts";
import { canonicalAuthority, isCanonicalHost, isMethod } from "./request-line.ts";

/** What the gateway makes of the same request. */
function atTheGateway(method: string, url: string, host: string): string {
  const verdict = checkRequest({ method, url, httpVersionMajor: 1, rawHeaders: ["Host", host] });
  return verdict.ok ? `${verdict.value.method} ${verdict.value.host} ${verdict.value.path}` : verdict.reason;
}

function asInput(method: string, path: string, host: string): string {
  const read = safeReadInput({ peer: "spiffe://example.org/web", method, path, host });
  assert.ok(read.ok, JSON.stringify(read));
  const { facts, refused } = read.value;
  return refused === undefined ? `${facts.method} ${facts.host} ${facts.path}` : refused.reason;
}

describe("hosts that rules know", () => {
  it("are those that are already as a request's host is written, whatever they are made of", () => {
    const parts = [
      "a",
      "Z",
      "7",
      "-",
      "_",
      ".",
      ":",
      ":80",
      "[",
      "]",
      "[::1]",
      "[0::1]",
      "127.0.0.1",
      "127.1",
      "0x7f",
      "@",
      "/",
      " ",
      "\n",
      "\u212a",
      "\u00e9",
      "",
    ];
    let known = 0;
    for (const first of parts) {
      for (const second of parts) {
        for (const third of parts) {
          const text = first + second + third;
          assert.equal(isCanonicalHost(text), canonicalAuthority(text)?.host === text, JSON.stringify(text));
          if (isCanonicalHost(text)) known++;
        }
      }
    }
    assert.ok(known > 100, `${known}`);
    // what looks like one when it is written out
    assert.equal(isCanonicalHost(["a"] as unknown as string), false);
    assert.deepEqual([isMethod("GET"), isMethod(["GET"] as unknown as string)], [true, false]);
  });
});

describe("[S-22] [S-23] an input is judged as the gateway judges the request", () => {
  const cases: [request: [method: string, path: string, host: string], outcome: string][] = [
    [["GET", "/a", "api.test"], "GET api.test /a"],
    [["GET", "/a", "API.test:8443"], "GET api.test /a"],
    [["GET", "/a", "api.test."], "GET api.test /a"],
    [["GET", "/a", "api.test.:8443"], "GET api.test /a"],
    [["GET", "/a", "[::1]:8443"], "GET [::1] /a"],
    // addresses in the other forms that programs take for them
    [["GET", "/a", "[0:0:0:0:0:0:0:1]:8443"], "GET [::1] /a"],
    [["GET", "/a", "[0000::0:1]"], "GET [::1] /a"],
    [["GET", "/a", "[2001:DB8:0:0::1]"], "GET [2001:db8::1] /a"],
    [["GET", "/a", "[::ffff:192.0.2.1]"], "GET [::ffff:c000:201] /a"],
    [["GET", "/a", "192.0.2.1"], "GET 192.0.2.1 /a"],
    [["GET", "/a", "192.0.2.1."], "GET 192.0.2.1 /a"],
    [["GET", "/a", "192.0.513:1"], "GET 192.0.2.1 /a"],
    [["GET", "/a", "0300.0.2.1"], "GET 192.0.2.1 /a"],
    [["GET", "/a", "0XC0.0.2.0x1"], "GET 192.0.2.1 /a"],
    [["GET", "/a", "3221225985"], "GET 192.0.2.1 /a"],
    [["GET", "/a", "256.0.2.1"], "request.authority"],
    [["GET", "/a", "192.0.2.1.1"], "request.authority"],
    [["GET", "/a", "api.1"], "request.authority"],
    [["GET", "/a", "1.api"], "GET 1.api /a"],
    [["GET", "/a", "[192.0.2.1]"], "request.authority"],
    [["GET", "/a", "[:]"], "request.authority"],
    [["GET", "/a", "[::1%25lo]"], "request.authority"],
    [["GET", "/a", "[1::2::3]"], "request.authority"],
    // the sign of the unit, which small letters make a plain k
    [["GET", "/a", "\u212aube.test"], "request.authority"],
    [["GET", "/a", "Kube.test"], "GET kube.test /a"],
    [["GET", "/a", "u@api.test"], "request.authority"],
    [["GET", "/a", "api..test"], "request.authority"],
    [["GET", "/a", "api.test:x"], "request.authority"],
    [["GET", "/a?b=%20", "api.test"], "GET api.test /a"],
    [["GET", "/a?b=%zz", "api.test"], "request.target"],
    [["GET", "/a?b#c", "api.test"], "request.target"],
    [["GET", "/a/../b", "api.test"], "request.target"],
    [["CONNECT", "/a", "api.test"], "request.method"],
    [["TRACE", "/a", "api.test"], "request.method"],
    [["TRACE", "/a/../b", "u@api.test"], "request.method"],
    [["PURGE", "/a", "api.test"], "PURGE api.test /a"],
  ];
  for (const [request, outcome] of cases) {
    it(`${request.join(" ").replace(/[^ -~]/g, "?")}: ${outcome}`, () => {
      assert.equal(asInput(...request), outcome);
      assert.equal(atTheGateway(...request), outcome);
    });
  }
});

describe("an input as people write it", () => {
  const peer = "spiffe://example.org/web";
  const token = "spiffe://example.org/cron";
  const read = (input: unknown) => {
    const verdict = safeReadInput(input);
    return verdict.ok ? verdict.value : verdict.message;
  };

  it("is read with what it leaves out", () => {
    assert.deepEqual(read({}), {
      peer: undefined,
      facts: {
        method: "GET",
        path: "/",
        host: undefined,
        listener: undefined,
        route: undefined,
        headers: undefined,
        now: undefined,
      },
    });
    const kind = (input: object) => {
      const one = read({ peer, ...input });
      if (typeof one === "string" || one.peer === undefined) return one;
      return [one.peer.via, one.peer.id.uri, one.peer.token?.id.uri, one.peer.token?.claims];
    };
    assert.deepEqual(kind({}), ["x509", peer, undefined, undefined]);
    assert.deepEqual(kind({ via: "x509", claims: { a: 1 } }), ["x509", peer, peer, { a: 1 }]);
    assert.deepEqual(kind({ token, claims: { a: 1 } }), ["x509", peer, token, { a: 1 }]);
    assert.deepEqual(kind({ token }), ["x509", peer, token, {}]);
    assert.deepEqual(kind({ via: "jwt", claims: { a: 1 } }), ["jwt", peer, peer, { a: 1 }]);
    assert.deepEqual(kind({ via: "jwt" }), ["jwt", peer, peer, {}]);
  });

  it("has its headers under the names that rules know", () => {
    const one = read({ headers: { "X-A": "1", x_a: ["2", "3"], b: [] }, listener: "mesh", route: "r" });
    assert.ok(typeof one !== "string");
    assert.deepEqual({ ...one.facts.headers }, { "x-a": ["1", "2", "3"], b: [] });
    assert.deepEqual([one.facts.listener, one.facts.route], ["mesh", "r"]);
    assert.equal(Object.getPrototypeOf(one.facts.headers), null);
  });

  for (const [input, fault] of [
    [null, /is no request/],
    [5, /is no request/],
    [[], /is no request/],
    [{ peers: peer }, /^peers: unknown key/],
    [{ peer: 5 }, /^peer: 5 is no SPIFFE ID of a workload/],
    [{ peer: null }, /^peer: null is no SPIFFE ID of a workload/],
    [{ peer: "spiffe://example.org" }, /^peer: .* is no SPIFFE ID of a workload/],
    [{ peer: "spiffe://Example.org/web" }, /^peer: .* is no SPIFFE ID of a workload/],
    [{ peer, token: 5 }, /^token: 5 is no SPIFFE ID of a workload/],
    [{ peer, token: "spiffe://example.org" }, /^token: .* is no SPIFFE ID of a workload/],
    [{ via: "jwt" }, /^via: belongs to a caller with an identity/],
    [{ token }, /^token: belongs to a caller with an identity/],
    [{ claims: {} }, /^claims: belongs to a caller with an identity/],
    [{ peer, via: "mtls" }, /^via: "mtls" is no kind of identity/],
    [{ peer, via: "jwt", token }, /^token: is the peer itself where via is jwt/],
    [{ peer, claims: [] }, /^claims: is not a block of claims/],
    [{ peer, claims: null }, /^claims: is not a block of claims/],
    [{ host: "" }, /^host: is not text/],
    [{ host: 5 }, /^host: is not text/],
    [{ listener: [] }, /^listener: is not text/],
    [{ route: null }, /^route: is not text/],
    [{ method: "get" }, /^method: "get" is no HTTP method/],
    [{ method: "xGET" }, /^method: "xGET" is no HTTP method/],
    [{ method: "GETx" }, /^method: "GETx" is no HTTP method/],
    [{ method: ["GET"] }, /^method: .* is no HTTP method/],
    [{ path: 5 }, /^path: is not text/],
    [{ path: ["/a"] }, /^path: is not text/],
    [{ headers: [] }, /^headers: is not a block of headers/],
    [{ headers: { a: 5 } }, /^headers\.a: is not text/],
    [{ headers: { a: ["b", 5] } }, /^headers\.a: is not text/],
    [{ time: "tomorrow" }, /^time: "tomorrow" is no time/],
  ] as const) {
    it(`is not ${JSON.stringify(input)}`, () => {
      const told = read(input);
      assert.ok(typeof told === "string", "accepted");
      assert.match(told, fault);
    });
  }
});
