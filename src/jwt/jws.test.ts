import assert from "node:assert/strict";
import { createHmac, createPublicKey } from "node:crypto";
import { before, describe, it } from "node:test";
import { LIMITS } from "../base/index.ts";
import { ALGORITHMS, base64url, sign, signRaw } from "./sign.testing.ts";
import { claims, makeWorld, type World } from "./world.testing.ts";

let world: World;
before(async () => {
  world = await makeWorld();
});

const HEADER = '{"alg":"ES256","kid":"es256"}';
const payload = () => JSON.stringify(claims());
const raw = (header: string | Uint8Array, body: string | Uint8Array = payload()) =>
  signRaw(world.keys.es256, "ES256", header, body);

describe("the JWS of a JWT-SVID", () => {
  it("[JWT-03] [JWT-21] each of the nine algorithms is accepted with its key", async () => {
    for (const alg of ALGORITHMS) {
      const token = await sign(world.keyFor(alg), { alg }, claims());
      assert.equal(await world.verdict(token), "accept", alg);
    }
  });

  it("[JWT-04] every other algorithm is refused, also with a signature that would verify", async () => {
    const pem = createPublicKey({ key: world.keys.rsa.publicJwk as never, format: "jwk" }).export({
      type: "spki",
      format: "pem",
    });
    const input = (alg: unknown) => `${base64url(JSON.stringify({ alg, kid: "rsa" }))}.${base64url(payload())}`;
    for (const [alg, hash] of [
      ["HS256", "sha256"],
      ["HS384", "sha384"],
      ["HS512", "sha512"],
    ] as const) {
      const signature = createHmac(hash, pem).update(input(alg)).digest("base64url");
      assert.equal(await world.verdict(`${input(alg)}.${signature}`), "jwt.algorithm", alg);
    }
    const others = [
      "none",
      "None",
      "nOnE",
      "NONE",
      "EdDSA",
      "Ed25519",
      "ES256K",
      "RS256 ",
      " RS256",
      "rs256",
      "RS1",
      "ML-DSA-44",
      "RSA-OAEP",
      "dir",
    ];
    for (const alg of [...others, "", "constructor", "__proto__", 256, null, true, ["ES256"], { name: "ES256" }]) {
      const good = await raw(JSON.stringify({ alg, kid: "es256" }));
      assert.equal(await world.verdict(good), "jwt.algorithm", JSON.stringify(alg));
      assert.equal(await world.verdict(`${input(alg)}.`), "jwt.algorithm", `${JSON.stringify(alg)}, no signature`);
    }
    assert.equal(await world.verdict(await raw('{"kid":"es256"}')), "jwt.algorithm", "no alg");
    assert.equal(await world.verdict(await raw('{"Alg":"ES256","kid":"es256"}')), "jwt.algorithm");
    assert.equal(await world.verdict(await raw(HEADER)), "accept");
  });

  it("[JWT-04] the algorithm is judged before header, payload and signature", async () => {
    const header = base64url('{"alg":"none","typ":"wit+jwt","crit":["x"],"jku":"https://x"}');
    assert.equal(await world.verdict(`${header}.!!!.!!!`), "jwt.algorithm");
    const known = base64url('{"alg":"ES256","typ":"wit+jwt"}');
    assert.equal(await world.verdict(`${known}.!!!.!!!`), "jwt.type");
  });

  it("[JWT-01] compact serialization only", async () => {
    const token = await raw(HEADER);
    assert.equal(await world.verdict(token), "accept");
    const [protectedHeader, body, signature] = token.split(".");
    const flattened = JSON.stringify({ protected: protectedHeader, payload: body, signature });
    const general = JSON.stringify({ payload: body, signatures: [{ protected: protectedHeader, signature }] });
    const bad = [
      flattened,
      general,
      "",
      ".",
      "..",
      "...",
      `${protectedHeader}.${body}`,
      `${protectedHeader}A`,
      `${token}.`,
      `.${token}`,
      `${token}.e30`,
      `${token}.e30.e30`,
      `${protectedHeader}..${signature}`,
      `.${body}.${signature}`,
    ];
    for (const text of bad) assert.equal(await world.verdict(text), "jwt.malformed", text);
    for (const value of [undefined, null, 1, {}, [token], new TextEncoder().encode(token)]) {
      assert.equal(await world.verdict(value as never), "jwt.malformed");
    }
  });

  it("[JWT-02] header parameters beside alg, kid and typ are refused, and let through only by option", async () => {
    assert.equal(await world.verdict(await world.token({}, { typ: "JWT" })), "accept");
    for (const extra of [
      { cty: "JWT" },
      { zip: "DEF" },
      { iss: "x" },
      { KID: "es256" },
      { "": 1 },
      { x: null },
      { ["__proto__"]: 1 },
    ]) {
      const token = await raw(JSON.stringify({ alg: "ES256", kid: "es256", ...extra }));
      assert.equal(await world.verdict(token), "jwt.header", JSON.stringify(extra));
      assert.equal(await world.verdict(token, { lenientHeader: true }), "accept", JSON.stringify(extra));
      for (const almost of [1, "true", {}] as unknown[] as true[]) {
        assert.equal(await world.verdict(token, { lenientHeader: almost }), "jwt.header", "nothing but true relaxes");
      }
    }
  });

  it("[JWT-02] nothing but true lets them through, whatever else a program says yes by", async () => {
    const token = await raw(JSON.stringify({ alg: "ES256", kid: "es256", cty: "JWT" }));
    for (const said of ["true", "false", 1, {}, []])
      assert.equal(await world.verdict(token, { lenientHeader: said as never }), "jwt.header", JSON.stringify(said));
    assert.equal(await world.verdict(token, { lenientHeader: true }), "accept");
  });

  it("[JWT-02] [JWT-04] a header that came before is judged like one that is new, in whatever order", async () => {
    const accepted = await raw(HEADER);
    const lenient = await raw('{"alg":"ES256","kid":"es256","x":1}');
    // more headers than are kept, with the same beginning
    const many = await Promise.all(Array.from({ length: 40 }, (_, i) => raw(`{"alg":"ES256","kid":"es256-${i}"}`)));
    for (let turn = 0; turn < 3; turn++) {
      assert.equal(await world.verdict(lenient, { lenientHeader: true }), "accept");
      assert.equal(await world.verdict(lenient), "jwt.header");
      assert.equal(await world.verdict(accepted), "accept");
      assert.equal(await world.verdict(accepted, { lenientHeader: true }), "accept");
      for (const token of turn === 1 ? many : []) assert.equal(await world.verdict(token), "jwt.key-not-found");
      const [, body, signature] = accepted.split(".");
      const elsewhere = base64url('{"alg":"ES384","kid":"es256"}');
      assert.equal(await world.verdict(`${elsewhere}.${body}.${signature}`), "jwt.key-type");
      const spoilt = `${accepted.slice(0, 1)}${accepted[1] === "A" ? "B" : "A"}${accepted.slice(2)}`;
      assert.notEqual(await world.verdict(spoilt), "accept");
    }
  });

  it("[JWT-02] a header that brings keys is refused even by the lenient option, and its key never used", async () => {
    const jwk = world.keys.es256.publicJwk;
    for (const extra of [
      { jwk },
      { jku: "https://example.org/jwks" },
      { x5u: "https://example.org/x5u" },
      { x5c: ["AA=="] },
      { x5t: "AA" },
      { "x5t#S256": "AA" },
      { b64: false },
      { b64: true },
      { jwk: null },
    ]) {
      const token = await raw(JSON.stringify({ alg: "ES256", kid: "es256", ...extra }));
      assert.equal(await world.verdict(token), "jwt.header", JSON.stringify(extra));
      assert.equal(await world.verdict(token, { lenientHeader: true }), "jwt.header", JSON.stringify(extra));
    }
    assert.equal(await world.verdict(await raw(HEADER), { lenientHeader: true }), "accept");
  });

  it("[JWT-14] crit is refused whatever it names", async () => {
    for (const crit of [["x"], ["exp"], ["kid"], [], "x", null, ["b64"]]) {
      const token = await raw(JSON.stringify({ alg: "ES256", kid: "es256", x: 1, crit }));
      assert.equal(await world.verdict(token), "jwt.critical", JSON.stringify(crit));
      assert.equal(await world.verdict(token, { lenientHeader: true }), "jwt.critical", JSON.stringify(crit));
    }
    assert.equal(
      await world.verdict(await raw('{"alg":"ES256","kid":"es256","x":1}'), { lenientHeader: true }),
      "accept",
    );
  });

  it("[JWT-06] [WIT-27] typ is absent, JWT or JOSE; a WIT-SVID is no JWT-SVID", async () => {
    for (const typ of ["JWT", "JOSE"]) assert.equal(await world.verdict(await world.token({}, { typ })), "accept", typ);
    assert.equal(await world.verdict(await world.token()), "accept");
    for (const typ of ["jwt", "Jwt", "at+jwt", "wit+jwt", "application/jwt", "JWT ", "", null, 1, ["JWT"], true]) {
      const token = await raw(JSON.stringify({ alg: "ES256", kid: "es256", typ }));
      assert.equal(await world.verdict(token), "jwt.type", JSON.stringify(typ));
      assert.equal(await world.verdict(token, { lenientHeader: true }), "jwt.type", JSON.stringify(typ));
    }
  });

  it("[JWT-05] kid is absent or a text", async () => {
    assert.equal(await world.verdict(await raw('{"alg":"ES256"}')), "accept");
    for (const kid of ["", null, 1, ["es256"], { kid: "es256" }, true]) {
      assert.equal(
        await world.verdict(await raw(JSON.stringify({ alg: "ES256", kid }))),
        "jwt.header",
        JSON.stringify(kid),
      );
    }
  });

  it("[JWT-14] base64url in one spelling only", async () => {
    const token = await raw(HEADER, `${payload()} `);
    assert.equal(await world.verdict(token), "accept");
    const parts = token.split(".");
    for (let part = 0; part < 3; part++) {
      const changed = (change: (text: string) => string) =>
        parts.map((text, i) => (i === part ? change(text) : text)).join(".");
      const spellings = [
        (t: string) => `${t}=`,
        (t: string) => `${t}==`,
        (t: string) => `${t}\n`,
        (t: string) => ` ${t}`,
        (t: string) => `${t.slice(0, 4)} ${t.slice(4)}`,
        (t: string) => `${t.slice(0, 4)}+${t.slice(5)}`,
        (t: string) => `${t.slice(0, 4)}/${t.slice(5)}`,
        (t: string) => `${t.slice(0, 4)}\u0161${t.slice(5)}`,
        (t: string) => `${t.slice(0, 4)}%41${t.slice(5)}`,
        (t: string) => `${t}A`.slice(0, (t.length >> 2) * 4 + 1),
      ];
      for (const spelling of spellings)
        assert.equal(await world.verdict(changed(spelling)), "jwt.malformed", `${part} ${spelling}`);
    }
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const last = alphabet.indexOf(token.at(-1)!);
    assert.equal(last & 15, 0, "64 octets leave four unused bits");
    for (let bits = 1; bits < 16; bits++) {
      assert.equal(await world.verdict(token.slice(0, -1) + alphabet[last | bits]), "jwt.malformed");
    }
  });

  it("[JWT-14] header and payload are UTF-8 JSON objects without duplicates", async () => {
    const bytes = (text: string, ...prefix: number[]) =>
      Uint8Array.from([...prefix, ...new TextEncoder().encode(text)]);
    const body = payload();
    for (const header of [
      "[]",
      '"ES256"',
      "null",
      "1",
      "",
      "{",
      `${HEADER}x`,
      `${HEADER}${HEADER}`,
      '{"alg":"none","alg":"ES256"}',
      '{"alg":"ES256","\\u0061lg":"ES256"}',
      bytes(HEADER, 0xef, 0xbb, 0xbf),
      bytes('{"alg":"ES256","kid":"\u00e9"}').slice(0, -3),
      `{"alg":"ES256","x":${"[".repeat(40)}${"]".repeat(40)}}`,
      "{'alg':'ES256'}",
      '{"alg":"ES256",}',
      '{"alg":"ES256"}\u0000',
    ]) {
      assert.equal(await world.verdict(await raw(header)), "jwt.malformed", `${header}`);
    }
    const doubled = body.replace("{", '{"sub":"spiffe://example.org/admin",');
    for (const text of [
      "[]",
      '"x"',
      "null",
      "",
      body.slice(1),
      `${body}x`,
      `${body}${body}`,
      doubled,
      body.replace("{", '{"\\u0073ub":"x",'),
      bytes(body, 0xef, 0xbb, 0xbf),
      Uint8Array.from([...bytes(body.slice(0, -1)), 0x2c, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      body.replace("{", `{"x":${"[".repeat(40)}${"]".repeat(40)},`),
    ]) {
      assert.equal(await world.verdict(await raw(HEADER, text)), "jwt.malformed", `${text}`);
    }
    assert.equal(await world.verdict(await raw(` {"kid" : "es256",\n"alg":"ES256"} `, ` ${body}\n`)), "accept");
    assert.equal(await world.verdict(await raw(HEADER, body.replace("{", '{"x":"\u00e9",'))), "accept");
  });

  it("[JWT-14] bounded: token 16 KiB, header 4 KiB", async () => {
    const filled = (length: number) => raw(HEADER, payload().replace("{", `{"x":"${"x".repeat(length)}",`));
    assert.equal(await world.verdict(await filled(11_900)), "accept");
    assert.equal(await world.verdict(await filled(12_300)), "jwt.too-large");
    assert.equal(await world.verdict(await filled(1_000_000)), "jwt.too-large");
    const header = (length: number) => raw(`{"alg":"ES256","kid":"es256"${" ".repeat(length)}}`);
    assert.equal(await world.verdict(await header(4_000)), "accept");
    assert.equal(await world.verdict(await header(4_100)), "jwt.too-large");
    const sized = (length: number) => raw(`${HEADER} `, payload().padEnd(length));
    const room = ((LIMITS.token - (await raw(`${HEADER} `, "")).length) / 4) * 3;
    assert.equal((await sized(room)).length, LIMITS.token);
    assert.equal(await world.verdict(await sized(room)), "accept");
    assert.equal(await world.verdict(await sized(room + 1)), "jwt.too-large");
    assert.equal(await world.verdict(await header(LIMITS.joseHeader - HEADER.length)), "accept");
    assert.equal(await world.verdict(await header(LIMITS.joseHeader - HEADER.length + 1)), "jwt.too-large");
  });

  it("[A-12] [JWT-14] no change of a single character of a token is accepted", async () => {
    const token = await world.token();
    assert.equal(await world.verdict(token), "accept");
    for (let at = 0; at < token.length; at++) {
      const c = token[at] === "." ? "A" : token[at] === "A" ? "Q" : "A";
      const verdict = await world.verdict(token.slice(0, at) + c + token.slice(at + 1));
      assert.notEqual(verdict, "accept", `character ${at}`);
    }
  });
});
