import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseGatewayConfig } from "../config.ts";

/** The store that a file means. */
function read(store: object): unknown {
  return parseGatewayConfig({
    listen: { port: 8443 },
    upstreams: { a: { url: "http://127.0.0.1:1" } },
    routes: [{ name: "a", path: "/**", upstream: "a" }],
    policy: [{ rule: "r", allow: { trustDomains: ["example.org"] } }],
    limits: { perIdentity: { rate: "50/s", store: store as never } },
  }).limits.perIdentity?.store;
}

const common = {
  id: undefined,
  unsafePlain: false,
  username: undefined,
  passwordFile: undefined,
  prefix: "spiffe-edge:",
  timeoutMs: 50,
};

describe("limits.perIdentity.store", () => {
  it("over mutual TLS, on loopback, on a unix socket", () => {
    const id = "spiffe://example.org/valkey";
    const url = "rediss://valkey.test:6380";
    assert.deepEqual(read({ url, id }), { ...common, url, id, host: "valkey.test", port: 6_380 });
    assert.deepEqual(read({ url: "redis://[::1]" }), { ...common, url: "redis://[::1]", host: "::1", port: 6_379 });
    const local = { url: "unix:/run/valkey.sock", prefix: "edge-2:", timeout: "1s", username: "u", passwordFile: "/p" };
    assert.deepEqual(read(local), {
      ...common,
      url: "unix:/run/valkey.sock",
      socketPath: "/run/valkey.sock",
      prefix: "edge-2:",
      timeoutMs: 1_000,
      username: "u",
      passwordFile: "/p",
    });
  });

  it("in plaintext to another machine only under the key that says unsafe", () => {
    const url = "redis://valkey.test:6379";
    assert.throws(() => read({ url }), /plaintext leaves this machine; on the way everybody can read the password/);
    const named = { ...common, url, host: "valkey.test", port: 6_379, unsafePlain: true };
    assert.deepEqual(read({ url, unsafePlainStore: true }), named);
  });

  for (const [name, store, message] of [
    ["no url", {}, /perIdentity\.store: needs "url"\. Expected: url: rediss:\/\/host:port with id/],
    ["another scheme", { url: "http://127.0.0.1:6379" }, /store\.url: "http:\/\/127.* is no address of a store/],
    ["a port that is none", { url: "redis://127.0.0.1:65536" }, /is no address of a store/],
    ["a path", { url: "redis://127.0.0.1:6379/1" }, /is no address of a store/],
    ["TLS without an ID", { url: "rediss://a.test" }, /store: rediss needs "id", the SPIFFE ID that must answer/],
    [
      "an ID in plaintext",
      { url: "redis://127.0.0.1", id: "spiffe://a/b" },
      /store\.id: cannot be checked in plaintext/,
    ],
    ["an ID that is none", { url: "rediss://a.test", id: "a/b" }, /store\.id: /],
    [
      "unsafe where it is safe",
      { url: "redis://127.0.0.1", unsafePlainStore: true },
      /unsafePlainStore: is not needed/,
    ],
    ["unsafe as a text", { url: "redis://a.test", unsafePlainStore: "yes" }, /unsafePlainStore: is not true/],
    ["a name that looks like loopback", { url: "redis://127.evil.test" }, /plaintext leaves this machine/],
    ["a relative password file", { url: "redis://127.0.0.1", passwordFile: "p" }, /passwordFile: "p" is not absolute/],
    ["a user alone", { url: "redis://127.0.0.1", username: "u" }, /username: needs "passwordFile"/],
    ["a prefix with a blank", { url: "redis://127.0.0.1", prefix: "a b" }, /prefix: "a b" does not fit/],
    ["a time too long", { url: "redis://127.0.0.1", timeout: "2s" }, /timeout: "2s" is too long. Expected: at most 1s/],
    ["a password in the file", { url: "redis://127.0.0.1", password: "x" }, /password: unknown key/],
  ] as const) {
    it(`refuses ${name}`, () => assert.throws(() => read(store), message));
  }

  it("does not repeat a password that is in the address", () => {
    const fault = (url: string) => {
      try {
        read({ url });
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    };
    for (const url of ["redis://:s3cret@127.0.0.1:6379", "rediss://u:s3cret@a.test", "redis://127.0.0.1?p=s3cret"]) {
      assert.match(fault(url), /is no address of a store/);
      assert.doesNotMatch(fault(url), /s3cret/);
    }
  });
});
