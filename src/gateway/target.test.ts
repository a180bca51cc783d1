import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkRequest } from "./target.ts";

type Case = { method?: string; url?: string; headers?: string[]; h2?: boolean };
function judge({ method = "GET", url = "/a?b=1", headers = ["Host", "edge.example:8443"], h2 = false }: Case): string {
  const verdict = checkRequest({ method, url, httpVersionMajor: h2 ? 2 : 1, rawHeaders: headers });
  if (!verdict.ok) return verdict.reason;
  const { value } = verdict;
  return `${value.method} ${value.host} ${value.authority} ${value.target}`;
}
const h2 = (...fields: string[]) => [":method", "GET", ":scheme", "https", ":path", "/a", ...fields];

describe("[S-22] request targets", () => {
  const table: [title: string, input: Case, outcome: string][] = [
    ["path and query", {}, "GET edge.example edge.example:8443 /a?b=1"],
    ["an encoded letter is decoded once", { url: "/%61?%61" }, "GET edge.example edge.example:8443 /a?%61"],
    [
      "a query may hold what a path may not",
      { url: "/a?u=http://x//y/../z;%2f%252f[]|" },
      "GET edge.example edge.example:8443 /a?u=http://x//y/../z;%2f%252f[]|",
    ],
    ["an empty query stays", { url: "/a?" }, "GET edge.example edge.example:8443 /a?"],
    ["[A-10] absolute form", { url: "https://edge.example/a" }, "request.target"],
    ["[A-10] asterisk form", { url: "*", method: "OPTIONS" }, "request.target"],
    ["[A-10] no path", { url: "" }, "request.target"],
    ["[A-10] only a query", { url: "?a" }, "request.target"],
    ["[A-10] a fragment in the query", { url: "/a?b#c" }, "request.target"],
    ["[A-10] raw UTF-8 in the query", { url: "/a?é" }, "request.target"],
    ["[A-10] a blank in the query", { url: "/a?b c" }, "request.target"],
    ["[A-10] a broken escape in the query", { url: "/a?%4" }, "request.target"],
    ["[A-10] dot segments", { url: "/public/../admin" }, "request.target"],
    ["[A-10] encoded dot segments", { url: "/public/%2e%2e/admin" }, "request.target"],
    ["[A-10] a second slash", { url: "//admin" }, "request.target"],
    ["[A-10] CONNECT", { method: "CONNECT" }, "request.method"],
    ["TRACE", { method: "TRACE" }, "request.method"],
    ["a method in small letters", { method: "get" }, "request.method"],
    ["an empty method", { method: "" }, "request.method"],
    ["a method with a blank", { method: "GET " }, "request.method"],
    ["an extension method", { method: "M-SEARCH" }, "M-SEARCH edge.example edge.example:8443 /a?b=1"],
  ];
  for (const [title, input, outcome] of table) it(`${title}: ${outcome}`, () => assert.equal(judge(input), outcome));
});

describe("[S-23] one authority", () => {
  const table: [title: string, headers: string[], outcome: string][] = [
    ["lower-case, without trailing dot", ["HOST", "Edge.Example.:443"], "GET edge.example edge.example:443 /a?b=1"],
    ["an IPv6 address", ["host", "[::1]:8443"], "GET [::1] [::1]:8443 /a?b=1"],
    ["an h2 authority", h2(":authority", "edge.example"), "GET edge.example edge.example /a?b=1"],
    ["an h2 host alone", h2("host", "edge.example"), "GET edge.example edge.example /a?b=1"],
    [
      "the same host twice over, once each",
      h2(":authority", "edge.example", "host", "EDGE.example."),
      "GET edge.example edge.example /a?b=1",
    ],
    ["[A-10] no host", [], "request.authority"],
    ["[A-10] an empty host", ["Host", ""], "request.authority"],
    ["[A-10] two hosts", ["Host", "a", "host", "b"], "request.authority"],
    ["[A-10] the same host twice", ["Host", "a", "Host", "a"], "request.authority"],
    ["[A-10] joined hosts", ["Host", "a, b"], "request.authority"],
    ["[A-10] userinfo", ["Host", "a@b"], "request.authority"],
    ["[A-10] a path in the host", ["Host", "a/b"], "request.authority"],
    ["[A-10] a blank in the host", ["Host", "a b"], "request.authority"],
    ["[A-10] raw UTF-8 in the host", ["Host", "é"], "request.authority"],
    ["[A-10] host differs from :authority", h2(":authority", "edge.example", "host", "other"), "request.authority"],
    ["[A-10] port differs from :authority", h2(":authority", "a:1", "host", "a:2"), "request.authority"],
    ["[A-10] two :authority", h2(":authority", "a", ":authority", "a"), "request.authority"],
    ["[A-10] userinfo in :authority", h2(":authority", "u@a"), "request.authority"],
    ["[A-10] plain scheme", [":scheme", "http", ":authority", "a"], "request.target"],
  ];
  for (const [title, headers, outcome] of table)
    it(`${title}: ${outcome}`, () => assert.equal(judge({ headers }), outcome));
});

describe("fields that may come once", () => {
  const host = ["Host", "a"];
  const table: [title: string, headers: string[], outcome: string][] = [
    ["one Authorization", [...host, "Authorization", "Bearer x"], "GET a a /a?b=1"],
    [
      "[S-18] two Authorization fields",
      [...host, "Authorization", "Bearer x", "authorization", "Bearer x"],
      "request.authorization",
    ],
    ["one length", [...host, "Content-Length", "12"], "GET a a /a?b=1"],
    ["chunked", [...host, "Transfer-Encoding", "Chunked"], "GET a a /a?b=1"],
    ["two equal lengths", [...host, "Content-Length", "1", "Content-Length", "1"], "request.framing"],
    ["length and chunked", [...host, "Content-Length", "1", "Transfer-Encoding", "chunked"], "request.framing"],
    ["a signed length", [...host, "Content-Length", "+1"], "request.framing"],
    ["an unknown coding", [...host, "Transfer-Encoding", "xchunked"], "request.framing"],
    ["two codings", [...host, "Transfer-Encoding", "gzip, chunked"], "request.framing"],
  ];
  for (const [title, headers, outcome] of table)
    it(`${title}: ${outcome}`, () => assert.equal(judge({ headers }), outcome));
});
