/** From outside: which JWT-SVIDs the harness takes, by which bundles, and what it fetches. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, it } from "node:test";
import {
  signTestJwt,
  TestCa,
  type TestJwtAlgorithm,
  type TestJwtKey,
  type TestJwtOptions,
  testJwtKey,
} from "../../src/authority/testing.ts";
import { eventually } from "../support/eventually.ts";
import { Agent, type Content, jwkSet, wire } from "./agent.ts";
import { endHarnesses, Harness } from "./harness-process.ts";

const HOME = "home.example";
const PARTNER = "partner.example";
const WEB = `spiffe://${HOME}/web`;
const CRON = `spiffe://${HOME}/cron`;
const AUDIENCE = "conformance";
const NINE = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"] as const;

let agent: Agent;
let harness: Harness;
const keys = {} as Record<TestJwtAlgorithm, TestJwtKey>;
let partnerKey: TestJwtKey;

/** The keys of both trust domains, as a bundle has them while a test says nothing else. */
const bundles = (): Content["jwks"] => ({ [HOME]: jwkSet(...Object.values(keys)), [PARTNER]: jwkSet(partnerKey) });

before(async () => {
  for (const alg of [...NINE, "EdDSA"] as const) keys[alg] = await testJwtKey(alg);
  partnerKey = await testJwtKey("ES256");
  const ca = await TestCa.create({ trustDomain: HOME });
  const svids = [wire(WEB, await ca.issue({ id: WEB }), ca)];
  agent = await Agent.start({ x509: { svids }, jwks: bundles() }, { key: keys.ES256, ids: [WEB, CRON] });
  harness = await Harness.start(agent.socket);
});

after(async () => {
  await harness.end();
  await agent.close();
  await endHarnesses();
});

const now = () => Math.floor(Date.now() / 1_000);

/** A token that is in order but for what is said. */
function token({ key = keys.ES256, claims = {}, ...more }: Partial<TestJwtOptions> = {}): Promise<string> {
  const all = typeof claims === "string" ? claims : { sub: WEB, aud: [AUDIENCE], ...claims };
  return signTestJwt({ key, claims: all, ...more });
}

async function assertTaken(jwt: string, name: string, id = WEB): Promise<void> {
  const answer = await harness.validate(jwt, AUDIENCE);
  assert.deepEqual([answer.code, answer.status, answer.spiffe_id], [200, "ok", id], `${name}: ${answer.message}`);
}

async function assertRefused(jwt: string, name: string): Promise<void> {
  const { code, status } = await harness.validate(jwt, AUDIENCE);
  assert.deepEqual([code, status], [422, "rejected"], name);
}

/** Replaces the bundles, and waits until they are in force: until a key that comes with them is taken. */
async function settle(jwks: Content["jwks"]): Promise<void> {
  const marker = await testJwtKey("ES256");
  const { keys: others } = JSON.parse(jwks[HOME] ?? '{"keys":[]}') as { keys: object[] };
  await agent.say({ jwks: { ...jwks, [HOME]: jwkSet(...others, marker) } });
  const jwt = await token({ key: marker });
  await eventually(async () => (await harness.validate(jwt, AUDIENCE)).status === "ok", "the bundles in force");
}

function part(value: object | string): string {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

/** A token whose signature is whatever the function makes of the rest. */
function handmade(header: object, sign: (input: string) => string | Uint8Array, claims: object = {}): string {
  const input = `${part(header)}.${part({ sub: WEB, aud: [AUDIENCE], exp: now() + 300, ...claims })}`;
  return `${input}.${Buffer.from(sign(input)).toString("base64url")}`;
}

async function pemOf({ jwk }: TestJwtKey): Promise<string> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("jwk", { ...jwk }, algorithm, true, ["verify"]);
  const spki = Buffer.from(await crypto.subtle.exportKey("spki", key)).toString("base64");
  return `-----BEGIN PUBLIC KEY-----\n${spki.match(/.{1,64}/g)!.join("\n")}\n-----END PUBLIC KEY-----\n`;
}

describe("harness: JWT-SVIDs that are in order", () => {
  for (const alg of NINE) {
    it(`[JWT-03] ${alg} is taken`, async () => {
      await assertTaken(await token({ key: keys[alg] }), alg);
    });
  }

  it("[JWT-05] [JWT-06] [JWT-08] every form that is allowed is taken, and claims are passed on", async () => {
    const forms: [name: string, options: Partial<TestJwtOptions>][] = [
      ["typ JOSE", { header: { typ: "JOSE" } }],
      ["no typ", { header: { typ: undefined } }],
      ["no kid", { header: { kid: undefined } }],
      ["one audience as text", { claims: { aud: AUDIENCE } }],
      ["several audiences", { claims: { aud: ["other", AUDIENCE] } }],
      ["no iat", { claims: { iat: undefined } }],
      ["nbf in the past", { claims: { nbf: now() - 60 } }],
      ["other claims", { claims: { iss: "https://issuer.example", jti: "1", scope: { a: [1, true, null] } } }],
    ];
    for (const [name, options] of forms) await assertTaken(await token(options), name);
    const answer = await harness.validate(await token({ claims: { scope: { a: [1, true, null] } } }));
    const claims = answer.claims as Record<string, unknown>;
    assert.deepEqual([claims.sub, claims.aud, claims.scope], [WEB, [AUDIENCE], { a: [1, true, null] }]);
  });
});

describe("harness: JWT-SVIDs that are refused", () => {
  it("[JWT-04] [JWT-21] for their algorithm", async () => {
    const { kid } = keys.RS256;
    const pem = await pemOf(keys.RS256);
    const hmac = (bits: number, secret: string) => (input: string) =>
      createHmac(`sha${bits}`, secret).update(input).digest();
    for (const alg of ["none", "None", "nOnE"])
      await assertRefused(
        handmade({ alg, kid }, () => ""),
        alg,
      );
    for (const bits of [256, 384, 512]) {
      for (const secret of [pem, pem.trim(), JSON.stringify(keys.RS256.jwk), keys.RS256.jwk.n!]) {
        await assertRefused(handmade({ alg: `HS${bits}`, kid }, hmac(bits, secret)), `HS${bits}`);
      }
    }
    await assertRefused(await token({ key: keys.EdDSA }), "EdDSA with a key that the bundle has");
    const swapped: [key: TestJwtAlgorithm, alg: string][] = [
      ["ES256", "RS256"],
      ["ES256", "ES384"],
      ["ES384", "ES256"],
      ["RS256", "ES256"],
      ["RS256", "PS256"],
      ["PS256", "RS256"],
      ["RS256", "RS512"],
      ["ES256", "ES256K"],
      ["RS256", "RS256 "],
      ["RS256", "rs256"],
    ];
    for (const [key, alg] of swapped) {
      await assertRefused(await token({ key: keys[key], header: { alg } }), `${alg} over a signature of ${key}`);
      await assertTaken(await token({ key: keys[key] }), key);
    }
  });

  it("[JWT-06] [JWT-14] for their header", async () => {
    const headers: object[] = [
      { typ: "jwt" },
      { typ: "at+jwt" },
      { typ: "wit+jwt" },
      { typ: "" },
      { kid: "unknown" },
      { kid: "" },
      { kid: 1 },
      { crit: ["x"], x: 1 },
      { crit: [] },
      { b64: false, crit: ["b64"] },
      { jwk: keys.ES256.jwk },
      { jku: "https://keys.example" },
      { x5c: [] },
    ];
    for (const header of headers) {
      await assertRefused(await token({ header: { ...header } }), JSON.stringify(header));
      await assertTaken(await token(), "its twin");
    }
    await assertRefused(await token({ header: `{"alg":"ES256","alg":"ES256","kid":"${keys.ES256.kid}"}` }), "a double");
    await assertRefused(await token({ header: "[]" }), "a list");
  });

  it("[JWT-07] [JWT-09] [JWT-12] [JWT-13] for their claims", async () => {
    const wrong: Record<string, unknown>[] = [
      { aud: undefined },
      { aud: [] },
      { aud: "" },
      { aud: [""] },
      { aud: 1 },
      { aud: [[AUDIENCE]] },
      { aud: "other" },
      { aud: AUDIENCE.toUpperCase() },
      { aud: `${AUDIENCE}/x` },
      { aud: AUDIENCE.slice(1) },
      { exp: undefined },
      { exp: now() - 300 },
      { exp: String(now() + 300) },
      { exp: -1 },
      { nbf: now() + 300 },
      { sub: undefined },
      { sub: "" },
      { sub: 1 },
      { sub: "web" },
      { sub: `https://${HOME}/web` },
      { sub: `spiffe://${HOME}` },
    ];
    for (const claims of wrong) {
      await assertRefused(await token({ claims }), JSON.stringify(claims));
      await assertTaken(await token(), "its twin");
    }
    for (const claims of ["[]", "1", '"x"', "", `{"sub":"${WEB}","sub":"${WEB}","aud":"${AUDIENCE}","exp":9999999999}`])
      await assertRefused(await token({ claims }), claims);
  });

  it("[JWT-01] [JWT-14] for their signature and their form", async () => {
    const good = await token();
    const [header, payload, signature] = good.split(".") as [string, string, string];
    const flip = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 10 ? byte ^ 1 : byte));
    const other = part({ sub: CRON, aud: [AUDIENCE], exp: now() + 300 });
    const json = JSON.stringify({ protected: header, payload, signature });
    const forms: [name: string, jwt: string][] = [
      ["a flipped bit", await token({ signature: flip })],
      ["no signature", `${header}.${payload}.`],
      ["half a signature", await token({ signature: (bytes) => bytes.slice(0, 32) })],
      ["zeros", await token({ signature: (bytes) => bytes.map(() => 0) })],
      ["a signature in DER", await token({ signature: (bytes) => Buffer.from([0x30, bytes.length, ...bytes]) })],
      ["other claims than were signed", `${header}.${other}.${signature}`],
      ["the key of another", await token({ key: await testJwtKey("ES256") })],
      ["the key of another under a known name", await token({ key: await testJwtKey("ES256", keys.ES256.kid) })],
      ["two parts", `${header}.${payload}`],
      ["four parts", `${good}.x`],
      ["five parts", `${good}.x.y`],
      ["padding", `${good}=`],
      ["a space", `${good} `],
      ["a line end", `${good}\n`],
      ["the other alphabet", `${header}.${payload}.${signature.slice(0, -4)}+/+/`],
      ["JSON serialization", json],
      ["nothing", ""],
      ["a megabyte", "a".repeat(1_000_000)],
    ];
    for (const [name, jwt] of forms) {
      await assertRefused(jwt, name);
      await assertTaken(good, `after ${name}`);
    }
  });

  it("[JWT-20] by the bundle of their subject's trust domain alone", async () => {
    const sub = `spiffe://${PARTNER}/web`;
    await assertTaken(await token({ key: partnerKey, claims: { sub } }), "a federated token", sub);
    await assertRefused(await token({ claims: { sub } }), "their subject, our key");
    await assertRefused(await token({ key: partnerKey }), "our subject, their key");
    await assertRefused(await token({ header: { kid: undefined }, claims: { sub } }), "the same without kid");
    await assertRefused(await token({ claims: { sub: "spiffe://stranger.example/web" } }), "no bundle");
  });
});

describe("harness: JWT bundles", () => {
  it("[WL-08] [WL-09] a key is trusted while the newest bundle has it, and a trust domain while it has a bundle", async () => {
    const added = await testJwtKey("ES384");
    const jwt = await token({ key: added });
    const sub = `spiffe://${PARTNER}/web`;
    const federated = await token({ key: partnerKey, claims: { sub } });
    await assertRefused(jwt, "before");
    await settle({ ...bundles(), [HOME]: jwkSet(keys.ES256, added) });
    await assertTaken(jwt, "added");
    await assertTaken(federated, "federated", sub);
    await settle({ [HOME]: jwkSet(keys.ES256) });
    await assertRefused(jwt, "removed");
    await assertRefused(federated, "its bundle removed");
    await assertTaken(await token(), "what stayed");
  });

  it("[JWT-05] the key is chosen by its name among several", async () => {
    const three = await Promise.all(["one", "two", "three"].map((kid) => testJwtKey("ES256", kid)));
    await settle({ [HOME]: jwkSet(...three) });
    for (const key of three) await assertTaken(await token({ key }), key.kid);
    await assertRefused(await token({ key: three[1]!, header: { kid: "three" } }), "the name of another");
  });

  it("[BND-10] [JWT-32] elements that are of no use are left out, and the rest counts", async () => {
    const odd = await testJwtKey("ES256", "odd");
    const jwk = odd.jwk;
    const useless: [name: string, element: object][] = [
      ["use x509-svid", { ...jwk, use: "x509-svid" }],
      ["use sig", { ...jwk, use: "sig" }],
      ["use JWT-SVID", { ...jwk, use: "JWT-SVID" }],
      ["an unknown kty", { ...jwk, use: "jwt-svid", kty: "XX" }],
      ["a symmetric key", { kty: "oct", k: "c2VjcmV0", kid: "odd", use: "jwt-svid" }],
      ["an unknown curve", { ...jwk, use: "jwt-svid", crv: "P-999" }],
      ["a point that is not on its curve", { ...jwk, use: "jwt-svid", y: jwk.x! }],
      ["an algorithm that is not on the list", { ...jwk, use: "jwt-svid", alg: "ES256K" }],
    ];
    for (const [name, element] of useless) {
      await settle({ [HOME]: jwkSet(element, keys.ES256) });
      await assertTaken(await token(), `beside ${name}`);
      await assertRefused(await token({ key: odd }), name);
    }
    await settle({ [HOME]: jwkSet(odd, keys.ES256) });
    await assertTaken(await token({ key: odd }), "their twin");
    // The Workload API speaks of a plain JWK set, so an element without use counts there.
    await settle({ [HOME]: jwkSet({ ...jwk }) });
    await assertTaken(await token({ key: odd }), "without use");
  });

  it("[BND-11] an empty bundle trusts nothing, and takes nothing from another", async () => {
    const sub = `spiffe://${PARTNER}/web`;
    const federated = await token({ key: partnerKey, claims: { sub } });
    await settle({ ...bundles(), [PARTNER]: '{"keys":[]}' });
    await assertRefused(federated, "empty");
    await assertTaken(await token(), "the other trust domain");
    await settle(bundles());
    await assertTaken(federated, "full again", sub);
  });

  const broken: [name: string, document: string][] = [
    ["no keys", "{}"],
    ["keys that are no list", '{"keys":{}}'],
    ["two lists", '{"keys":[],"keys":[]}'],
    ["a list", "[]"],
    ["no JSON", "keys"],
    ["half of it", '{"keys":['],
  ];
  it("[WL-11] [BND-09] a document that is no bundle changes nothing", async () => {
    await settle(bundles());
    for (const [name, document] of broken) {
      const sub = `spiffe://${PARTNER}/web`;
      await agent.say({ jwks: { [HOME]: jwkSet(await testJwtKey()), [PARTNER]: document } });
      await assertTaken(await token(), name);
      await assertTaken(await token({ key: partnerKey, claims: { sub } }), name, sub);
    }
    // The barrier: what comes later is taken, so the ones before were judged.
    await settle({ [HOME]: jwkSet(await testJwtKey()) });
    await assertRefused(await token(), "replaced by what came later");
    await settle(bundles());
  });
});

describe("harness: fetching JWT-SVIDs", () => {
  it("[WL-40] [WL-41] asks for the audiences and the ID it is told, and returns what came", async () => {
    const cases: [audience: string[], spiffeId: string, ids: string[]][] = [
      [[AUDIENCE], "", [WEB, CRON]],
      [["one", "two", "spiffe://other.example/x"], "", [WEB, CRON]],
      [[AUDIENCE], CRON, [CRON]],
    ];
    for (const [audience, spiffeId, ids] of cases) {
      const answer = await harness.ask("/v1/jwt/fetch", { audience, spiffe_id: spiffeId });
      assert.deepEqual([answer.code, answer.status], [200, "ok"]);
      assert.deepEqual(agent.asked.at(-1), { audience, spiffeId });
      const svids = answer.svids as { spiffe_id: string; token: string; hint: string }[];
      assert.deepEqual(
        svids.map((svid) => [svid.spiffe_id, svid.hint]),
        ids.map((id) => [id, id.slice(id.lastIndexOf("/") + 1)]),
      );
      for (const svid of svids) {
        const checked = await harness.validate(svid.token, audience[0]);
        assert.equal(checked.spiffe_id, svid.spiffe_id);
      }
    }
  });

  it("[WL-42] an ID that the agent has no token for is an answer without one", async () => {
    const answer = await harness.ask("/v1/jwt/fetch", { audience: [AUDIENCE], spiffe_id: `spiffe://${HOME}/none` });
    assert.deepEqual([answer.code, answer.status], [422, "rejected"]);
  });
});
