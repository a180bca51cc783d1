import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isCanonicalPath } from "./path.ts";
import { canonicalAuthority, canonicalTarget, isCanonicalHost, isMethod, isServedMethod } from "./request-line.ts";

describe("[S-22] [S-23] the request line in one spelling", () => {
  it("knows the methods that are served", () => {
    for (const method of ["GET", "POST", "VERSION-CONTROL", "M-SEARCH"]) assert.equal(isServedMethod(method), true);
    for (const method of ["", "get", "Get", "GET ", " GET", "GET\n", "-GET", "GET-", "G3T", "CONNECT", "TRACE"])
      assert.equal(isServedMethod(method), false, JSON.stringify(method));
  });

  it("takes no list of one text for the text", () => {
    for (const [is, text] of [
      [isMethod, "GET"],
      [isCanonicalHost, "a.test"],
      [isCanonicalPath, "/a"],
    ] as const) {
      assert.equal(is(text), true);
      for (const other of [[text], null, undefined]) assert.equal(is(other as never), false, `${is.name} ${other}`);
    }
  });

  it("keeps a query behind its path, and adds none", () => {
    const target = (raw: string) => {
      const verdict = canonicalTarget(raw);
      return verdict.ok ? [verdict.value.path, verdict.value.target] : verdict.reason;
    };
    assert.deepEqual(target("/a"), ["/a", "/a"]);
    assert.deepEqual(target("/%61?"), ["/a", "/a?"]);
    assert.deepEqual(target("/a?b=/%61?c"), ["/a", "/a?b=/%61?c"]);
    for (const raw of ["?a", "", "a?b", "/a?b#c", "/a?\u00e4", "/a?b c", "/a?%zz", "/a?%", "/a?b\\", "/a?\n"])
      assert.equal(target(raw), "request.target", JSON.stringify(raw));
  });

  it("gives host and port apart, and together as they came", () => {
    for (const [raw, authority, host] of [
      ["a.test", "a.test", "a.test"],
      ["A.Test.", "a.test", "a.test"],
      ["a.test.:443", "a.test:443", "a.test"],
      ["[::1]:8443", "[::1]:8443", "[::1]"],
      ["127.1", "127.0.0.1", "127.0.0.1"],
    ] as const)
      assert.deepEqual(canonicalAuthority(raw), { authority, host }, raw);
    for (const raw of ["", "a@b", "a:b", "a:123456", "a..b", "-a", "a/b", "[::1", "a b", "a\n", "999.1.1.1", "*.a"])
      assert.equal(canonicalAuthority(raw), undefined, JSON.stringify(raw));
  });

  it("knows a host that is in that spelling already", () => {
    for (const host of ["a.test", "a_b", "127.0.0.1", "[::1]", "xa.1b"])
      assert.equal(isCanonicalHost(host), true, host);
    for (const host of [
      "A.test",
      "a.test.",
      "a.test:1",
      "127.1",
      "1.0x7f",
      "0x7f.1",
      "[0::1]",
      "a..b",
      "a/b",
      "a\n",
      "",
    ])
      assert.equal(isCanonicalHost(host), false, JSON.stringify(host));
  });
});
