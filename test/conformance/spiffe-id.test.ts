/** From outside: which SPIFFE IDs the harness takes, in tokens and in certificates that are in order otherwise. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { signTestJwt, TestCa, type TestJwtKey, testJwtKey } from "../../src/authority/testing.ts";
import { Agent, jwkSet, wire } from "./agent.ts";
import { endHarnesses, Harness } from "./harness-process.ts";

const TD = "td.example";
const OWN = `spiffe://${TD}/own`;
const long = (length: number) => `spiffe://${TD}/`.padEnd(length, "a");

/** Trust domain names that are allowed although some look odd. */
const NAMES = [
  TD,
  "t",
  "td_1.example-2.org",
  "192.168.1.1",
  "999.999",
  ".td",
  "td.",
  "a..b",
  "-td",
  "_",
  "-",
  ".",
  "xn--e1afmkfd",
  "d".repeat(254),
  "d".repeat(255),
];

const VALID: readonly string[] = [
  ...NAMES.map((name) => `spiffe://${name}/a`),
  ...["/a", "/A", "/a.b-c_d", "/...", "/..a", "/a..", "/.a", "/a.", "/-", "/_", "/0", "/a/b/c/d"].map(
    (path) => `spiffe://${TD}${path}`,
  ),
  `spiffe://${TD}${"/x".repeat(900)}`,
  long(2047),
  long(2048),
  `spiffe://${"d".repeat(255)}/`.padEnd(2048, "a"),
];

const INVALID: readonly string[] = [
  "",
  "spiffe",
  "spiffe://",
  "spiffe:///a",
  `spiffe://${TD}`,
  `spiffe://${TD}/`,
  `SPIFFE://${TD}/a`,
  `Spiffe://${TD}/a`,
  `spiffe://${TD.toUpperCase()}/a`,
  `spiffe:/${TD}/a`,
  `spiffe:${TD}/a`,
  `spiffe//${TD}/a`,
  `://${TD}/a`,
  ` spiffe://${TD}/a`,
  `spiffe://${TD}/a `,
  `https://${TD}/a`,
  `spiffes://${TD}/a`,
  `sp\u0131ffe://${TD}/a`,
  `spiffe://t%64.example/a`,
  `spiffe://[::1]/a`,
  `spiffe://u@${TD}/a`,
  `spiffe://@${TD}/a`,
  `spiffe://u:p@${TD}/a`,
  `spiffe://${TD}:80/a`,
  `spiffe://${TD}:/a`,
  `spiffe://${TD}!/a`,
  `spiffe://t$d/a`,
  `spiffe://t\u0434/a`,
  `spiffe://${"d".repeat(256)}/a`,
  ...["//", "//a", "/a//b", "/a/", "/a//", "/.", "/..", "/a/.", "/a/..", "/./a", "/../a", "/a/./b", "/a/../b"].map(
    (path) => `spiffe://${TD}${path}`,
  ),
  ...[
    "%41",
    "%2e%2e",
    "%2F",
    "a!b",
    "a~b",
    "a:b",
    "a@b",
    "a+b",
    "a=b",
    "a b",
    "a\\b",
    "a*",
    "a,b",
    "a;b",
    "\u00e4",
  ].map((segment) => `spiffe://${TD}/${segment}`),
  ...["?", "?x", "?x=1", "#", "#f", "/a?", "/a?x=1", "/a#", "/a#f", "/a\0", "/a\tb", "/a\nb"].map(
    (rest) => `spiffe://${TD}${rest}`,
  ),
  long(2049),
];

/** A certificate's URI name holds seven-bit characters. */
const inCertificate = (id: string) => /^[\0-\x7f]+$/.test(id);

let agent: Agent;
let harness: Harness;
let key: TestJwtKey;
const cas = new Map<string, TestCa>();

before(async () => {
  key = await testJwtKey();
  for (const name of NAMES) cas.set(name, await TestCa.create({ trustDomain: name }));
  const home = cas.get(TD)!;
  const federatedBundles = Object.fromEntries([...cas].map(([name, ca]) => [`spiffe://${name}`, ca.rootDer]));
  delete federatedBundles[`spiffe://${TD}`];
  const svids = [wire(OWN, await home.issue({ id: OWN }), home)];
  const jwks = Object.fromEntries(NAMES.map((name) => [name, jwkSet(key)]));
  agent = await Agent.start({ x509: { svids, federatedBundles }, jwks });
  harness = await Harness.start(agent.socket);
});

after(async () => {
  await harness.end();
  await agent.close();
  await endHarnesses();
});

/** What the harness makes of a token with this subject: the ID that it read, or that it was refused. */
async function byToken(sub: string): Promise<string> {
  const token = await signTestJwt({ key, claims: { sub, aud: ["conformance"] } });
  const { status, spiffe_id } = await harness.validate(token);
  return status === "ok" ? String(spiffe_id) : status;
}

/** The same for a client certificate with this URI name, issued by the CA of its trust domain, or by our own. */
async function byCertificate(uri: string): Promise<string> {
  const name = /^spiffe:\/\/([^/]+)\//.exec(uri)?.[1] ?? TD;
  const svid = await (cas.get(name) ?? cas.get(TD)!).issue({ uriSans: [uri] });
  const { line } = await harness.probe({ cert: svid.certPem, key: svid.keyPem });
  return line === "" ? "rejected" : line.slice(0, -1);
}

for (const [kind, read, fits] of [
  ["a token", byToken, () => true],
  ["a certificate", byCertificate, inCertificate],
] as const) {
  describe(`harness: SPIFFE IDs in ${kind}`, () => {
    it("[ID-08] [ID-10] [ID-12] [ID-14] [ID-16] [ID-18] takes every valid one, byte for byte", async () => {
      for (const id of VALID) assert.equal(await read(id), id);
    });

    it("[ID-02] [ID-03] [ID-04] [ID-05] [ID-06] [ID-07] [ID-09] [ID-11] [ID-13] refuses every other", async () => {
      for (const id of INVALID.filter(fits)) assert.equal(await read(id), "rejected", JSON.stringify(id));
      assert.equal(await read(`spiffe://${TD}/a`), `spiffe://${TD}/a`);
    });
  });
}
