import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { ManualClock, TestCa, testJwtKey } from "../authority/testing.ts";
import { BundleMap, SpiffeBundle } from "../bundle/index.ts";
import { TrustDomain } from "../id/index.ts";
import { JwtBundle } from "../jwt/index.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { X509Bundle } from "../x509/index.ts";
import { BundleSource } from "./bundle-source.ts";

const OWN = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.example");

const [first, second] = await Promise.all(
  ["example.org", "other.example"].map(async (name) => {
    const [ca, key] = [await TestCa.create({ trustDomain: name }), await testJwtKey("ES256", `key-of-${name}`)];
    const x509 = X509Bundle.fromDer(name, ca.rootDer);
    const jwks = JSON.stringify({ keys: [{ ...key.jwk, use: "jwt-svid" }] });
    return SpiffeBundle.of(name, { x509, jwt: JwtBundle.fromJwks(name, jwks, "spiffe-bundle") });
  }),
);
if (first === undefined || second === undefined) throw new Error("no bundles");
const map = BundleMap.of(first, second).toJson();

describe("BundleSource.fromJson", () => {
  it("[MAP-01] takes a Bundle Map, for the trust domains it names", async () => {
    await using source = BundleSource.fromJson(map);
    assert.ok(source.x509BundleFor(OWN)?.equals(first.x509));
    assert.ok(source.jwtBundleFor(OTHER)?.equals(second.jwt));
    assert.equal(source.x509BundleFor(TrustDomain.parse("third.example")), undefined);
    assert.equal(source.state, "ready");
    assert.equal(await source.ready(), source.current);
  });

  it("[BND-16] takes a SPIFFE bundle or PEM for the named trust domain alone", async () => {
    await using source = BundleSource.fromJson(new TextEncoder().encode(first.toJson()), { trustDomain: OWN });
    assert.ok(source.x509BundleFor(OWN)?.equals(first.x509));
    assert.ok(source.jwtBundleFor(OWN)?.equals(first.jwt));
    assert.equal(source.x509BundleFor(OTHER), undefined);
    await using pem = BundleSource.fromJson(`\n${first.x509.toPem()}`, { trustDomain: "example.org" });
    assert.ok(pem.x509BundleFor(OWN)?.equals(first.x509));
    assert.equal(pem.jwtBundleFor(OWN), undefined, "PEM says nothing of JWT keys");
    for (const space of [" ", "\t", "\n", "\r"]) {
      await using spaced = BundleSource.fromJson(space + first.toJson(), { trustDomain: OWN });
      assert.ok(spaced.jwtBundleFor(OWN)?.equals(first.jwt), JSON.stringify(space));
    }
  });

  const wrong: [what: string, document: string, trustDomain: string | undefined][] = [
    ["a bundle without its trust domain", first.toJson(), undefined],
    ["PEM without its trust domain", first.x509.toPem(), undefined],
    ["a map as the bundle of one", map, "example.org"],
    ["nothing", "", "example.org"],
    ["a truncated map", map.slice(0, -1), undefined],
    ["a trust domain twice", `{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}`, undefined],
    ["a SPIFFE ID as name", `{"trust_domains":{"spiffe://a":{"keys":[]}}}`, undefined],
    ["a broken PEM block", first.x509.toPem().replace("MII", "M!I"), "example.org"],
    ["another PEM block", first.x509.toPem().replaceAll("CERTIFICATE", "PRIVATE KEY"), "example.org"],
  ];
  for (const [what, document, trustDomain] of wrong) {
    it(`[MAP-03] refuses ${what}`, () => {
      assert.throws(() => BundleSource.fromJson(document, { trustDomain }), { code: "ERR_SPIFFE_BUNDLE" });
      assert.ok(BundleSource.fromJson(map).current);
    });
  }
});

describe("BundleSource.fromFile", () => {
  let folder: string;
  let path: string;

  const replace = (content: string) => {
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  };
  const has = (source: BundleSource, domain: TrustDomain) => source.x509BundleFor(domain) !== undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bundles-"));
    path = join(folder, "bundles.json");
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("[MAP-06] follows the file: each content is the whole state", async () => {
    replace(map);
    await using source = await BundleSource.fromFile(path);
    assert.ok(has(source, OWN) && has(source, OTHER));
    const sizes: number[] = [];
    const reading = (async () => {
      for await (const { x509 } of source.updates()) sizes.push(x509.size);
    })();
    replace(BundleMap.of(second).toJson());
    await eventually(() => !has(source, OWN), "the map without the own trust domain");
    assert.ok(has(source, OTHER));
    writeFileSync(path, '{"trust_domains":{}}');
    await eventually(() => !has(source, OTHER), "the empty map, written in place");
    assert.equal(source.state, "ready");
    replace(map);
    await eventually(() => has(source, OWN), "the whole map");
    await source.close();
    await reading;
    assert.deepEqual(sizes, [2, 1, 0, 2]);
    assert.equal(source.state, "closed");
  });

  it("a change in place counts, though the file is as long as before", async () => {
    writeFileSync(path, '{"trust_domains":{"example.org":{"keys":[]}}}');
    await using source = await BundleSource.fromFile(path);
    assert.ok(has(source, OWN));
    writeFileSync(path, '{"trust_domains":{"example.com":{"keys":[]}}}');
    await eventually(() => !has(source, OWN) && has(source, TrustDomain.parse("example.com")), "the other content");
  });

  it("a broken file leaves the bundles as they are, with lastError; the next good one counts", async () => {
    replace(map);
    await using source = await BundleSource.fromFile(path);
    for (const [index, content] of [map.slice(0, -3), "", "{}", '{"trust_domains":{"A":{"keys":[]}}}'].entries()) {
      replace(content);
      await eventually(() => source.counters.invalid > index, `broken file ${index}`);
      assert.equal(source.lastError?.code, "ERR_SPIFFE_BUNDLE");
      assert.equal(source.state, "stale");
      assert.ok(has(source, OWN) && has(source, OTHER));
      replace(map);
      await eventually(() => source.state === "ready", "the good file");
    }
  });

  it("a removed file takes all trust with it, until it is there again", async () => {
    replace(first.toJson());
    await using source = await BundleSource.fromFile(path, { trustDomain: OWN });
    assert.ok(source.jwtBundleFor(OWN)?.equals(first.jwt));
    unlinkSync(path);
    await eventually(() => source.state === "revoked", "the removal");
    assert.equal(source.current, undefined);
    assert.equal(source.x509BundleFor(OWN), undefined);
    assert.equal(source.jwtBundleFor(OWN), undefined);
    assert.match(source.lastError?.message ?? "", /ENOENT/);
    replace(first.toJson());
    await eventually(() => source.state === "ready", "the file");
    assert.ok(has(source, OWN));
  });

  it("one that can not be read leaves the bundles as they are", async () => {
    replace(map);
    await using source = await BundleSource.fromFile(path);
    rmSync(path);
    mkdirSync(path);
    await eventually(() => source.state === "stale", "a folder in the file's place");
    assert.match(source.lastError?.message ?? "", /no regular file/);
    assert.ok(has(source, OWN));
    rmSync(path, { recursive: true });
    replace(map);
    await eventually(() => source.state === "ready", "the file");
  });

  it("follows links, of the file and of its folder", async () => {
    for (const [index, bundle] of [first, second].entries()) {
      mkdirSync(join(folder, `v${index}`));
      writeFileSync(join(folder, `v${index}`, "map.json"), BundleMap.of(bundle).toJson());
    }
    symlinkSync("v0", join(folder, "data"));
    symlinkSync("data/map.json", path);
    await using source = await BundleSource.fromFile(path);
    await using direct = await BundleSource.fromFile(join(folder, "data", "map.json"));
    assert.ok(has(source, OWN) && has(direct, OWN));
    symlinkSync("v1", join(folder, "data.new"));
    renameSync(join(folder, "data.new"), join(folder, "data"));
    await eventually(() => has(source, OTHER) && has(direct, OTHER), "the other folder");
    assert.ok(!has(source, OWN) && !has(direct, OWN));
  });

  it("waits for a file that is not there yet, and says at the end what was missing", async () => {
    const opening = BundleSource.fromFile(path);
    const late = async (message: RegExp) => {
      const clock = new ManualClock();
      let noted = () => {};
      const read = new Promise<void>((resolve) => {
        noted = resolve;
      });
      const logger = { ...silentLogger, warn: noted };
      const ended = assert.rejects(BundleSource.fromFile(path, { timeoutMs: 20, clock, logger }), {
        code: "ERR_SPIFFE_TIMEOUT",
        message,
      });
      await read;
      await clock.advance(20);
      await ended;
    };
    await late(/bundles\.json within 20 ms.*ENOENT/);
    writeFileSync(path, "{");
    await late(/bundles\.json: Expected/);
    replace(map);
    await using source = await opening;
    assert.ok(has(source, OWN));
  });

  it("takes in no half of a file that is written slowly", async () => {
    const pem = first.x509.toPem() + second.x509.toPem();
    replace(pem);
    await using source = await BundleSource.fromFile(path, { trustDomain: OWN });
    const sizes = new Set([source.x509BundleFor(OWN)?.authorities.length]);
    const writer = (async () => {
      writeFileSync(path, first.x509.toPem());
      for (let n = 0; n < 10; n++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        writeFileSync(path, "a line between\n".repeat(n + 1), { flag: "a" });
        sizes.add(source.x509BundleFor(OWN)?.authorities.length);
      }
      writeFileSync(path, second.x509.toPem(), { flag: "a" });
    })();
    await writer;
    await eventually(() => source.counters.streams > 1, "the reading of the finished file");
    sizes.add(source.x509BundleFor(OWN)?.authorities.length);
    assert.deepEqual([...sizes], [2]);
  });
});
