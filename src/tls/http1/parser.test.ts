import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AnswerParser, NoAnswer } from "./parser.ts";

/** What is read of some bytes, given in parts of a size; a last line for what is left over or missing. */
function read(text: string, size: number, method = "GET", closed = false): string {
  const lines: string[] = [];
  let body = "";
  const parser = new AnswerParser(method, {
    head: (status, fields) => lines.push([status, ...fields].join("|")),
    data: (chunk) => {
      body += Buffer.from(chunk).toString("latin1");
    },
    ended: (trailers) => lines.push(`${body}${trailers.length === 0 ? "" : ` + ${trailers.join("|")}`}`),
  });
  const bytes = Buffer.from(text, "latin1");
  try {
    for (let at = 0; at < bytes.length; at += size) {
      if (!parser.push(bytes.subarray(at, at + size))) return `${lines.join("; ")}; left over`;
    }
    if (closed) parser.close();
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    return [...lines, "no answer"].join("; ");
  }
  return `${lines.join("; ")}; ${parser.done ? (parser.keeps ? "kept" : "closed") : "more"}`;
}

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/** Bytes, what they are, and a last word on them: whether the connection closes, and the request's method. */
const TABLE: readonly (readonly [bytes: string, outcome: string, closed?: boolean, method?: string])[] = [
  // what an answer is
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200|Content-Length|2; ok; kept"],
  ["HTTP/1.1 200 \r\ncontent-length:2\r\n\r\nok", "200|content-length|2; ok; kept"],
  ["HTTP/1.1 200\r\nContent-Length:\t 2 \t\r\n\r\nok", "200|Content-Length|2; ok; kept"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200|Content-Length|0; ; kept"],
  ["HTTP/1.1 200 OK\r\nX: \xe4\r\nContent-Length: 0\r\n\r\n", "200|X|\xe4|Content-Length|0; ; kept"],
  ["HTTP/1.1 204 No\r\nA: b\r\n\r\n", "204|A|b; ; kept"],
  ["HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "204|Content-Length|0; ; kept"],
  ["HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "204|Content-Length|5; ; closed"],
  ["HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "304|Content-Length|5; ; kept"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200|Content-Length|5; ; kept", false, "HEAD"],
  ["HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200|Content-Length|2; ok; kept"],
  [
    "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
    "200|Connection|x, Close|Content-Length|0; ; closed",
  ],
  ["HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200|Content-Length|2; ok; closed"],
  ["HTTP/1.1 200 OK\r\n\r\nall of it", "200; all of it; closed", true],
  ["HTTP/1.1 200 OK\r\n\r\nall of it", "200; more"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", "200|Content-Length|5; more", true],
  [`${CHUNKED}2\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; ok; kept"],
  [`${CHUNKED}1;a=b\r\no\r\n01\r\nk\r\n000\r\nX-Sum: 2\r\n\r\n`, "200|Transfer-Encoding|chunked; ok + X-Sum|2; kept"],
  [`${CHUNKED}2\r\nok\r\n`, "200|Transfer-Encoding|chunked; more", true],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "200|Transfer-Encoding|CHUNKED; ; kept"],
  // bytes behind an answer belong to nothing
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", "200|Content-Length|2; ok; left over"],
  ["HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", "204|Content-Length|5; ; left over"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200|Content-Length|5; ; left over", false, "HEAD"],
  [`${CHUNKED}0\r\n\r\nx`, "200|Transfer-Encoding|chunked; ; left over"],
  // lengths that two programs could read differently
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 2 3\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nok", "no answer"],
  ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "no answer"],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length : 2\r\n\r\nok", "no answer"],
  // lines that two programs could end or begin elsewhere
  ["HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "more", true],
  ["HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA: b\rContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA: b\r\n Content-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA b\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA\0: b\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\nA: b\x7f\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 OK\r\n\xe4: b\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  // status lines that are none
  ["\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/2 200\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok", "no answer"],
  ["HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "no answer"],
  [`${"HTTP/1.1 100 Go\r\n\r\n".repeat(17)}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`, "no answer"],
  // chunks that two programs could read differently
  [`${CHUNKED}2\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}2 \r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED} 2\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}0x2\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}-2\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}10000000000002\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}2;a\0\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}2;a\nb\r\nok\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}2\r\nokay\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}2\r\nok\n\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}0\r\nX-Sum : 2\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}0\r\n X: 2\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
  [`${CHUNKED}1;${"a".repeat(300)}\r\no\r\n0\r\n\r\n`, "200|Transfer-Encoding|chunked; no answer"],
];

describe("answers over HTTP/1.1", () => {
  it("are read alike in one piece and in any pieces, and nothing ambiguous is an answer", () => {
    for (const [bytes, outcome, closed, method] of TABLE) {
      for (const size of [bytes.length, 1, 2, 3, 7]) {
        const shown = `${JSON.stringify(bytes.slice(0, 120))} by ${size}`;
        let seen = read(bytes, size, method, closed);
        // of what comes in pieces, a part of the body may have been passed on before the fault
        seen = seen.replace(/^; /, "");
        assert.equal(seen, outcome, shown);
      }
    }
  });

  it("have heads and trailers of at most 64 KiB", () => {
    const head = (bytes: number) => `HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ${"a".repeat(bytes)}\r\n\r\n`;
    assert.match(read(head(65_000), 4_096), /kept$/);
    assert.match(read(head(66_000), 4_096), /no answer$/);
    assert.match(read("a".repeat(70_000), 4_096), /no answer$/);
    const trailers = (bytes: number) => `${CHUNKED}0\r\nX: ${"a".repeat(bytes)}\r\n\r\n`;
    assert.match(read(trailers(65_000), 4_096), /kept$/);
    assert.match(read(trailers(66_000), 4_096), /no answer$/);
  });

  it("are read in one pass, however odd they are", () => {
    // with backtracking, each of these would take minutes
    const blanks = " ".repeat(32_000);
    const outcomes = [
      `A:${blanks}${blanks.slice(1)}\0`,
      `A: x${blanks}y`,
      `Connection:${",".repeat(30_000)}${blanks}`,
    ].map((line) => read(`HTTP/1.1 200 OK\r\n${line}\r\nContent-Length: 0\r\n\r\n`, 70_000).slice(-9));
    assert.deepEqual(outcomes, ["no answer", "th|0; ; kept".slice(-9), "th|0; ; kept".slice(-9)]);
  });

  it("say how long a connection is kept", () => {
    const parser = new AnswerParser("GET", { head() {}, data() {}, ended() {} });
    parser.push(Buffer.from("HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=7\r\nContent-Length: 0\r\n\r\n"));
    assert.equal(parser.keepSeconds, 7);
  });
});
