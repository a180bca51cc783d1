import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkFetchRequest } from "./fetch-request.ts";

describe("[S-23] the host of a request that a server hands out", () => {
  /** A runtime may keep `Host` out of a request that a program makes, so it is shown as a server does. */
  const judge = (url: string, host: string | undefined) => {
    const headers = new Headers(host === undefined ? {} : { host });
    const verdict = checkFetchRequest({ url, method: "GET", headers, body: null } as unknown as Request);
    return verdict.ok ? "accepted" : verdict.reason;
  };

  it("is the one of its target, whatever was right before", () => {
    assert.equal(judge("http://edge.example/a", "edge.example"), "accepted");
    assert.equal(judge("http://other.example/a", "edge.example"), "request.authority");
    assert.equal(judge("http://edge.example/a", "other.example"), "request.authority");
    assert.equal(judge("http://edge.example/a", undefined), "request.authority");
    assert.equal(judge("http://edge.example/a", "edge.example"), "accepted");
  });

  it("is of a URL in plaintext", () => {
    // what begins where a host begins behind the longest scheme
    assert.equal(judge("https://1234edge.example/a", "edge.example"), "request.authority");
    assert.equal(judge("http+unix://edge.example/a", "edge.example"), "accepted");
  });
});

describe("[S-18] credentials that a server has joined", () => {
  const judge = (authorization: string) => {
    const headers = new Headers({ host: "edge.example", authorization });
    const request = { url: "http://edge.example/a", method: "GET", headers, body: null };
    const verdict = checkFetchRequest(request as unknown as Request);
    return verdict.ok ? "accepted" : verdict.reason;
  };

  it("are refused, but for a comma in a quoted string", () => {
    assert.equal(judge('Digest username="a, Bearer b", realm="c"'), "accepted");
    assert.equal(judge('Digest username="a\\", Bearer b", realm="c"'), "accepted");
    for (const joined of [
      "Bearer a, Bearer b",
      'Digest username="a", Bearer b',
      'Digest username="a\\\\", Bearer b',
      'Digest username="a, Bearer b',
      'Digest username="a, Bearer b\\"',
      'Digest username="a, Bearer b\\',
    ])
      assert.equal(judge(joined), "request.authorization", joined);
  });

  it("are looked for once over the value, however many quotes it has", () => {
    // again behind each quote it would take minutes
    assert.equal(judge(`Digest username="${'\\"'.repeat(1 << 18)},b`), "accepted");
  });
});
