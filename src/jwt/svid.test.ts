import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError } from "../base/index.ts";
import { JwtSvid } from "./index.ts";
import { AUDIENCE, makeWorld, NOW, NOW_MS, SUBJECT, type World } from "./world.testing.ts";

let world: World;
before(async () => {
  world = await makeWorld();
});

describe("JwtSvid", () => {
  it("[JWT-07] [JWT-11] reads the own agent's token without judging time, audience or signature", async () => {
    const token = await world.token({ exp: NOW - 1_000, aud: "anybody", extra: 1 });
    const svid = JwtSvid.parseUnverified(`${token.slice(0, -4)}AAAA`, { hint: "internal" });
    assert.equal(svid.id.uri, SUBJECT);
    assert.deepEqual(svid.audience, ["anybody"]);
    assert.equal(svid.expiresAt.getTime(), NOW_MS - 1_000_000);
    assert.equal(svid.hint, "internal");
    assert.equal(svid.keyId, "es256");
    assert.equal(svid.claims.extra, 1);
  });

  it("[JWT-02] [JWT-04] [JWT-06] [JWT-07] [JWT-08] [JWT-12] refuses a wrong shape all the same", async () => {
    const whole = await world.token();
    const bad = {
      "jwt.signature": whole.slice(0, whole.lastIndexOf(".") + 1),
      "jwt.subject": await world.token({ sub: "web" }),
      "jwt.audience-missing": await world.token({ aud: [] }),
      "jwt.expiry-missing": await world.token({ exp: undefined }),
      "jwt.type": await world.token({}, { typ: "wit+jwt" }),
      "jwt.header": await world.token({}, { jku: "https://example.org" }),
      "jwt.algorithm": "eyJhbGciOiJub25lIn0.e30.",
      "jwt.malformed": "hello",
    };
    for (const [reason, token] of Object.entries(bad)) {
      const verdict = JwtSvid.safeParseUnverified(token);
      assert.ok(!verdict.ok && verdict.reason === reason, reason);
      assert.throws(
        () => JwtSvid.parseUnverified(token),
        (error) => isSpiffeError(error, "ERR_SPIFFE_JWT_SVID") && error.reason === reason,
      );
    }
    assert.ok(JwtSvid.safeParseUnverified(whole).ok);
  });

  it("[JWT-19] gives the token only to who asks for it", async () => {
    const token = await world.token();
    const svid = JwtSvid.parseUnverified(token);
    assert.equal(svid.token, token);
    assert.ok(!Object.keys(svid).includes("token"));
    const copies = [
      inspect(svid, { showHidden: true, depth: 9, getters: true }),
      JSON.stringify(svid),
      String(svid),
      JSON.stringify({ ...svid }),
      inspect({ ...svid }),
    ];
    for (const text of copies) {
      for (const part of token.split(".")) assert.ok(!text.includes(part), text);
    }
    assert.ok(!("token" in svid.identity));
    assert.deepEqual(Object.keys(svid.identity), ["id", "expiresAt", "audience", "claims"]);
  });

  it("[JWT-15] its JSON holds no claims, which may be private and may be bigints", async () => {
    const token = await world.token();
    const svid = JwtSvid.parseUnverified(token);
    const json = JSON.parse(JSON.stringify(svid));
    assert.deepEqual(json, {
      id: SUBJECT,
      audience: [AUDIENCE],
      expiresAt: new Date(NOW_MS + 300_000).toJSON(),
      issuedAt: new Date(NOW_MS).toJSON(),
      keyId: "es256",
    });
  });
});
