import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Field,
  fieldsOf,
  isIdentityField,
  requestFields,
  responseFields,
  toHeaderObject,
  trailerFields,
} from "./headers.ts";

const PEER = "spiffe://example.org/web";
function forward(fields: Field[], dropAuthorization = false) {
  return requestFields(fields, {
    peerId: PEER,
    dropAuthorization,
    host: "upstream:1",
    forwardedHost: "edge.example",
    address: "192.0.2.1",
    requestId: "r1",
  });
}
const names = (fields: readonly Field[]) => fields.map(([name]) => name.toLowerCase());
const valuesOf = (fields: readonly Field[], name: string) =>
  fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);

const SPELLINGS = [
  "x-spiffe-id",
  "X-SPIFFE-ID",
  "X_Spiffe_Id",
  "x_spiffe-id",
  "x-spiffe_id",
  "x.spiffe.id",
  "x-forwarded-client-cert",
  "X_Forwarded_Client_Cert",
  "X-Forwarded_Client-Cert",
];

describe("[S-21] fields of a request", () => {
  for (const name of SPELLINGS) {
    it(`[A-11] ${name} is stripped`, () => {
      const out = forward([
        [name, "spiffe://example.org/admin"],
        [name, "twice"],
        ["x-kept", "1"],
      ]);
      const claims = out.filter(([other]) => isIdentityField(other));
      assert.deepEqual(claims, [["x-spiffe-id", PEER]]);
      assert.deepEqual(valuesOf(out, "x-kept"), ["1"]);
    });
  }

  it("[A-11] names that only look alike are kept", () => {
    const out = forward([
      ["x-spiffe-identity", "a"],
      ["x-spiffeid", "b"],
      ["my-x-spiffe-id", "c"],
    ]);
    for (const name of ["x-spiffe-identity", "x-spiffeid", "my-x-spiffe-id"])
      assert.equal(valuesOf(out, name).length, 1, name);
  });

  it("[A-11] Connection cannot remove the identity, as it is set last", () => {
    const out = forward([
      ["Connection", "x-spiffe-id, close"],
      ["X-Spiffe-Id", "evil"],
    ]);
    assert.deepEqual(valuesOf(out, "x-spiffe-id"), [PEER]);
    assert.equal(out.at(-1)?.[0], "x-spiffe-id");
  });

  it("[A-11] Connection removes what it names, Authorization too", () => {
    const fields: Field[] = [
      ["authorization", "Bearer x"],
      ["x-hop", "1"],
      ["x-end", "2"],
    ];
    const out = forward([["connection", "Authorization ,X-Hop"], ...fields]);
    assert.ok(!names(out).includes("authorization"));
    assert.ok(!names(out).includes("x-hop"));
    assert.ok(names(out).includes("x-end"));
    assert.ok(names(forward(fields)).includes("authorization"));
  });

  it("[A-11] no other field removes one that it names", () => {
    const fields: Field[] = [
      ["x-end", "2"],
      ["x-note", "x-end"],
      ["x-ten-long", "x-end"],
    ];
    assert.deepEqual(forward(fields).slice(1, 4), fields);
    assert.ok(!names(forward([...fields, ["Connection", "x-end"]])).includes("x-end"));
  });

  it("hop-by-hop and pseudo-header fields stay behind", () => {
    const hop = [
      "Connection",
      "Keep-Alive",
      "Proxy-Connection",
      "Proxy-Authorization",
      "TE",
      "Trailer",
      "Transfer-Encoding",
      "Upgrade",
      "HTTP2-Settings",
      ":path",
    ];
    const out = names(forward(hop.map((name) => [name, "x"])));
    for (const name of hop) assert.ok(!out.includes(name.toLowerCase()), name);
  });

  it("what frames a message goes on in its one spelling alone, in heads, trailers and answers", () => {
    const odd = ["Content_Length", "content.length", "Transfer_Encoding", "transfer.encoding", "Keep_Alive"];
    const fields: Field[] = odd.map((name) => [name, "7"]);
    const plain: Field[] = [
      ["Content-Length", "3"],
      ["x-content_length", "4"],
    ];
    const kept = (out: readonly Field[]) => out.filter(([name]) => /length|encoding|alive/i.test(name));
    assert.deepEqual(kept(forward([...fields, ...plain])), plain);
    assert.deepEqual(kept(responseFields([...fields, ...plain], "r1", 200)), plain);
    assert.deepEqual(kept(trailerFields([...fields, ["x-content_length", "4"]])), [["x-content_length", "4"]]);
  });

  it("an Authorization that carried a JWT-SVID stays behind, another goes on", () => {
    assert.deepEqual(valuesOf(forward([["Authorization", "Basic abc"]]), "authorization"), ["Basic abc"]);
    const dropped = forward(
      [
        ["Authorization", "Bearer abc"],
        ["x-kept", "1"],
      ],
      true,
    );
    assert.deepEqual([valuesOf(dropped, "authorization"), valuesOf(dropped, "x-kept")], [[], ["1"]]);
  });

  it("a caller's word on where it comes from is replaced", () => {
    const claims: Field[] = [
      "X-Forwarded-For",
      "x_forwarded_for",
      "X-Forwarded-Host",
      "X-Forwarded-Proto",
      "Forwarded",
      "X-Real-IP",
      "X-Request-Id",
    ].map((name) => [name, "claim"]);
    const out = forward([...claims, ["Host", "claim"], ["Expect", "100-continue"]]);
    assert.ok(!out.some(([, value]) => value === "claim" || value === "100-continue"));
    assert.deepEqual(valuesOf(out, "host"), ["upstream:1"]);
    assert.deepEqual(valuesOf(out, "x-forwarded-for"), ["192.0.2.1"]);
    assert.deepEqual(valuesOf(out, "x-forwarded-host"), ["edge.example"]);
    assert.deepEqual(valuesOf(out, "x-forwarded-proto"), ["https"]);
    assert.deepEqual(valuesOf(out, "x-request-id"), ["r1"]);
  });

  it("[S-22] nothing replaces the method or path that was judged", () => {
    const overrides = [
      "X-HTTP-Method-Override",
      "X_HTTP_Method_Override",
      "X-Method-Override",
      "X-HTTP-Method",
      "X-Original-URL",
      "X-Rewrite-URL",
    ];
    const out = forward([...overrides.map((name): Field => [name, "DELETE"]), ["x-kept", "1"]]);
    assert.ok(!out.some(([, value]) => value === "DELETE"));
    assert.deepEqual(valuesOf(out, "x-kept"), ["1"]);
  });

  it("cookies that HTTP/2 splits are joined, other repeats are kept apart", () => {
    const out = forward([
      ["cookie", "a=1"],
      ["accept", "x"],
      ["cookie", "b=2"],
      ["accept", "y"],
    ]);
    assert.deepEqual(valuesOf(out, "cookie"), ["a=1; b=2"]);
    assert.deepEqual(toHeaderObject(out).accept, ["x", "y"]);
  });
});

describe("[S-21] fields of an answer and trailers", () => {
  for (const name of SPELLINGS) {
    it(`[A-11] ${name} in an answer or a trailer is stripped`, () => {
      assert.ok(!responseFields([[name, "x"]], "r1", 200).some(([other]) => isIdentityField(other)));
      assert.deepEqual(
        trailerFields([
          [name, "x"],
          ["grpc-status", "0"],
        ]),
        [["grpc-status", "0"]],
      );
    });
  }
  it("an answer without content has no length", () => {
    const lengths = (status: number) =>
      responseFields(
        [
          ["Content-Length", "5"],
          ["x-kept", "1"],
        ],
        "r1",
        status,
      ).map(([name]) => name);
    for (const status of [101, 204, 304]) assert.deepEqual(lengths(status), ["x-kept", "x-request-id"], String(status));
    for (const status of [200, 205, 206, 404])
      assert.deepEqual(lengths(status), ["Content-Length", "x-kept", "x-request-id"], String(status));
  });
  it("[A-11] Connection in an answer removes what it names", () => {
    const out = responseFields(
      [
        ["Connection", "x-hop"],
        ["X-Hop", "1"],
        ["Set-Cookie", "a"],
        ["Set-Cookie", "b"],
        ["X-Request-Id", "theirs"],
      ],
      "r1",
      200,
    );
    assert.deepEqual(out, [
      ["Set-Cookie", "a"],
      ["Set-Cookie", "b"],
      ["x-request-id", "r1"],
    ]);
    assert.deepEqual(toHeaderObject(out)["set-cookie"], ["a", "b"]);
  });
  it("a trailer cannot frame, route or authorise", () => {
    const sly = ["Host", "Content-Length", "Transfer-Encoding", "Authorization", "Set-Cookie", "X-Forwarded-For"];
    assert.deepEqual(trailerFields(sly.map((name) => [name, "x"])), []);
    assert.deepEqual(trailerFields([["x-checksum", "1"]]), [["x-checksum", "1"]]);
    assert.deepEqual(trailerFields([["X_Checksum", "1"]], ["x-checksum"]), []);
  });
});

describe("field helpers", () => {
  it("pairs up raw lists and survives odd names", () => {
    assert.deepEqual(fieldsOf(["a", "1", "b", "2"]), [
      ["a", "1"],
      ["b", "2"],
    ]);
    const object = toHeaderObject([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
    assert.deepEqual(Object.keys(object), ["__proto__", "constructor"]);
  });
});
