import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { TestCa, type TestCertificateOptions } from "../authority/testing.ts";
import { systemClock } from "../base/clock.ts";
import { isSpiffeError } from "../base/errors.ts";
import { SpiffeBundle } from "../bundle/index.ts";
import { TrustDomain } from "../id/index.ts";
import { createFetch, listen, peerOf } from "../tls/index.ts";
import { X509Bundle } from "../x509/index.ts";
import { FileSource, type FileSourceOptions } from "./file-source.ts";

const ID = "spiffe://example.org/web";
const OWN = TrustDomain.parse("example.org");
const OTHER = TrustDomain.parse("other.example");

let ca: TestCa;
let otherCa: TestCa;
let foreign: TestCa;
let folder: string;

const at = (name: string) => join(folder, name);

function put(name: string, content: string): void {
  writeFileSync(at(`${name}.new`), content);
  renameSync(at(`${name}.new`), at(name));
}

const bundleOf = (authority: TestCa, name = "example.org") => X509Bundle.fromDer(name, authority.rootDer).toPem();

/** The three files, of one SVID. */
async function issue(options: TestCertificateOptions = {}, authority = ca) {
  return authority.issue({ id: ID, ...options });
}

/** Sleeps pass faster here, so that standing still and reading again take no second. */
const quick = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 10, signal) };

const files = (): FileSourceOptions => ({
  clock: quick,
  certificates: at("svid.pem"),
  privateKey: at("key.pem"),
  bundles: { "example.org": at("bundle.pem"), "other.example": at("other.pem") },
});

const serialOf = (source: FileSource) => source.x509Svid().leaf.der;
const same = (a: Uint8Array, b: Uint8Array | undefined) => b !== undefined && Buffer.compare(a, b) === 0;

before(async () => {
  [ca, otherCa, foreign] = await Promise.all([
    TestCa.create({ trustDomain: "example.org" }),
    TestCa.create({ trustDomain: "other.example" }),
    TestCa.create({ trustDomain: "example.org" }),
  ]);
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "files-"));
  const svid = await issue();
  put("svid.pem", svid.certPem);
  put("key.pem", svid.keyPem);
  put("bundle.pem", bundleOf(ca));
  put("other.pem", SpiffeBundle.of("other.example", { x509: X509Bundle.fromDer(OTHER, otherCa.rootDer) }).toJson());
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("FileSource", () => {
  it("takes certificates, key and bundles, PEM or SPIFFE bundle, as one state", async () => {
    await using source = await FileSource.open(files());
    assert.equal(source.id.uri, ID);
    assert.equal(source.state, "ready");
    assert.equal(source.x509Svid().id.uri, ID);
    assert.deepEqual([...source.current!.bundles.keys()], ["example.org", "other.example"]);
    assert.ok(source.x509BundleFor(OTHER)?.equals(X509Bundle.fromDer(OTHER, otherCa.rootDer)));
    assert.equal(source.x509BundleFor(TrustDomain.parse("third.example")), undefined);
    await source.close();
    assert.equal(source.state, "closed");
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_CLOSED" });
  });

  it("takes a credential bundle, key first; one with the key last is refused", async () => {
    const { certPem, keyPem } = await issue();
    const open = (timeoutMs = 8_000) =>
      FileSource.open({
        credentials: at("all.pem"),
        bundles: { "example.org": at("bundle.pem") },
        timeoutMs,
        clock: quick,
      });
    /** Requires that opening ends with this, with more time where a busy machine has not read the files by then. */
    const refused = async (message: RegExp, timeoutMs = 8_000): Promise<void> => {
      const error: unknown = await open(timeoutMs).then(
        (source) => source.close(),
        (thrown: unknown) => thrown,
      );
      assert.ok(isSpiffeError(error, "ERR_SPIFFE_TIMEOUT"), String(error));
      if (timeoutMs < 200_000 && /none came$/.test(error.message)) return refused(message, timeoutMs * 4);
      assert.match(error.message, message);
    };
    put("all.pem", "no PEM");
    await refused(/all\.pem: /);
    put("all.pem", certPem + keyPem);
    await refused(/all\.pem: Expected the block PRIVATE KEY first/);
    put("all.pem", keyPem);
    await refused(/all\.pem: /);
    put("all.pem", keyPem + certPem);
    await using source = await open(600_000);
    assert.equal(source.id.uri, ID);
  });

  it("takes a folder, and every trust domain that has a file in it", async () => {
    const { certPem, keyPem } = await issue();
    put("credential-bundle.pem", keyPem + certPem);
    put("example.org.spiffe-trust-bundle.pem", bundleOf(ca));
    put("other.example.spiffe-trust-bundle.pem.bak", bundleOf(otherCa, "other.example"));
    await using source = await FileSource.open({ folder, clock: quick });
    assert.deepEqual([...source.current!.bundles.keys()], ["example.org"]);
    put("other.example.spiffe-trust-bundle.pem", bundleOf(otherCa, "other.example"));
    put("No Domain.spiffe-trust-bundle.pem", bundleOf(otherCa, "other.example"));
    await eventually(() => source.x509BundleFor(OTHER) !== undefined, "the federated bundle");
    assert.equal(source.current!.bundles.size, 2);
    unlinkSync(at("other.example.spiffe-trust-bundle.pem"));
    await eventually(() => source.x509BundleFor(OTHER) === undefined, "its end");
    assert.equal(source.x509Svid().id.uri, ID);
  });

  it("follows renewals, and says so once for each", async () => {
    await using source = await FileSource.open(files());
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { svids } of source.updates()) seen.push(svids.length);
    })();
    const renewed = await issue();
    put("key.pem", renewed.keyPem);
    put("svid.pem", renewed.certPem);
    await eventually(() => same(serialOf(source), renewed.certificatesDer[0]), "the renewed SVID");
    put("svid.pem", renewed.certPem);
    await eventually(() => source.counters.unchanged === 1, "the same content again");
    await source.close();
    await reading;
    assert.deepEqual(seen, [1, 1]);
  });

  it("reads again when key and certificate do not match, as between the two writes of a renewal", async () => {
    const renewed = await issue();
    // The second write comes in the pause before the next reading.
    const sleep = (ms: number, signal?: AbortSignal) => {
      if (ms === 50) put("svid.pem", renewed.certPem);
      return quick.sleep(ms, signal);
    };
    await using source = await FileSource.open({ ...files(), clock: { ...quick, sleep } });
    put("key.pem", renewed.keyPem);
    await eventually(() => same(serialOf(source), renewed.certificatesDer[0]), "the pair");
    assert.equal(source.counters.invalid, 0);
    assert.equal(source.lastError, undefined);
  });

  const day = 86_400_000;
  const wrong: [what: string, spoil: () => Promise<void>, reason: string][] = [
    ["a key of another certificate", async () => put("key.pem", (await issue()).keyPem), "x509.key-mismatch"],
    ["a chain of another authority", async () => putBoth(await issue({}, foreign)), "x509.no-path"],
    ["a bundle of another authority", async () => put("bundle.pem", bundleOf(foreign)), "x509.no-path"],
    [
      "an expired leaf",
      async () => putBoth(await issue({ notAfter: new Date(systemClock.now() - 1_000) })),
      "x509.expired",
    ],
    [
      "a leaf that is not valid yet",
      async () =>
        putBoth(
          await issue({
            notBefore: new Date(systemClock.now() + day),
            notAfter: new Date(systemClock.now() + 2 * day),
          }),
        ),
      "x509.not-yet-valid",
    ],
    [
      "a leaf without path in its ID",
      async () => putBoth(await issue({ id: "spiffe://example.org" })),
      "x509.leaf-root-path",
    ],
    ["a CA as leaf", async () => putBoth(await issue({ ca: true })), "x509.leaf-is-ca"],
    ["a truncated certificate", async () => put("svid.pem", (await issue()).certPem.slice(0, -40)), "encoding.pem"],
    ["no certificate", async () => put("svid.pem", ""), "encoding.pem"],
    ["a bundle that is none", async () => put("other.pem", "{}"), "bundle.malformed"],
    [
      "an SVID of another trust domain whose bundle does not vouch for it",
      async () => putBoth(await foreignIssue()),
      "x509.no-path",
    ],
  ];
  const putBoth = ({ certPem, keyPem }: { certPem: string; keyPem: string }) => {
    put("key.pem", keyPem);
    put("svid.pem", certPem);
  };
  const foreignIssue = async () =>
    (await TestCa.create({ trustDomain: "other.example" })).issue({ id: "spiffe://other.example/web" });
  for (const [what, spoil, reason] of wrong) {
    it(`[S-11] refuses ${what}, keeps the old state, and takes the next good one`, async () => {
      await using source = await FileSource.open(files());
      const before = source.current;
      await spoil();
      await eventually(() => source.counters.invalid > 0, "the refusal");
      assert.equal(source.lastError?.reason, reason);
      assert.equal(source.state, "stale");
      assert.equal(source.current, before);
      put("bundle.pem", bundleOf(ca));
      put("other.pem", bundleOf(otherCa, "other.example"));
      const good = await issue();
      putBoth(good);
      // a slow test may see the old certificate first, with the good bundle
      await eventually(() => same(serialOf(source), good.certificatesDer[0]), "the good files");
      assert.equal(source.state, "ready");
    });
  }

  for (const name of ["svid.pem", "key.pem", "bundle.pem"]) {
    it(`${name} that is removed takes the identity with it, until it is there again`, async () => {
      await using source = await FileSource.open(files());
      const before = source.x509Svid();
      cpSync(at(name), at("kept"));
      unlinkSync(at(name));
      await eventually(() => source.state === "revoked", "the removal");
      assert.equal(source.current, undefined);
      assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_REVOKED", reason: "workload.revoked" });
      assert.equal(source.x509BundleFor(OWN), undefined);
      assert.equal(source.x509BundleFor(OTHER), undefined);
      assert.equal(source.id.uri, ID);
      renameSync(at("kept"), at(name));
      await eventually(() => source.state === "ready", "the file");
      assert.ok(same(before.leaf.der, serialOf(source)));
    });
  }

  it("a folder may come later, and one that is removed takes the identity with it, until it is there again", async () => {
    const { certPem, keyPem } = await issue();
    const [there, away] = [at("there"), at("away")];
    mkdirSync(away);
    writeFileSync(join(away, "credential-bundle.pem"), keyPem + certPem);
    writeFileSync(join(away, "example.org.spiffe-trust-bundle.pem"), bundleOf(ca));
    const never = FileSource.open({ folder: there, clock: quick, timeoutMs: 500 });
    await assert.rejects(never, { code: "ERR_SPIFFE_TIMEOUT", message: /ENOENT/ });
    const opening = FileSource.open({ folder: there, clock: quick });
    renameSync(away, there);
    await using source = await opening;
    renameSync(there, away);
    await eventually(() => source.state === "revoked", "the removal");
    renameSync(away, there);
    await eventually(() => source.state === "ready", "the folder");
    const own = "there/example.org.spiffe-trust-bundle.pem";
    renameSync(at(own), at("own"));
    await eventually(() => source.state === "revoked", "the removal of the own bundle");
    renameSync(at("own"), at(own));
    await eventually(() => source.state === "ready", "the own bundle");
  });

  it("a foreign bundle that is removed ends the trust in its trust domain alone", async () => {
    await using source = await FileSource.open(files());
    unlinkSync(at("other.pem"));
    mkdirSync(at("other.pem"));
    await eventually(() => source.state === "stale", "what can not be read");
    assert.ok(source.x509BundleFor(OTHER), "it is not gone, so the last good state stays");
    rmSync(at("other.pem"), { recursive: true });
    await eventually(() => source.x509BundleFor(OTHER) === undefined, "the removal");
    assert.equal(source.state, "ready");
    assert.equal(source.x509Svid().id.uri, ID);
  });

  it("[S-17] hands out no SVID after its end, whatever the files do", async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    await using source = await FileSource.open({ ...files(), clock });
    aheadMs = source.x509Svid().expiresAt.getTime() - systemClock.now() + 1;
    assert.equal(source.state, "expired");
    assert.throws(() => source.x509Svid(), { code: "ERR_SPIFFE_EXPIRED", reason: "x509.expired" });
    aheadMs = 0;
    assert.equal(source.x509Svid().id.uri, ID);
  });

  it("follows a folder that is swapped by a link, and no reader ever sees two generations mixed", async () => {
    const generations: Uint8Array[] = [];
    const generate = async (index: number) => {
      const svid = await issue();
      mkdirSync(at(`g${index}`));
      put(`g${index}/svid.pem`, svid.certPem);
      put(`g${index}/key.pem`, svid.keyPem);
      put(`g${index}/bundle.pem`, bundleOf(ca));
      generations.push(svid.certificatesDer[0]!);
      symlinkSync(`g${index}`, at("next"));
      renameSync(at("next"), at("current"));
    };
    await generate(0);
    const current = (name: string) => join(folder, "current", name);
    await using source = await FileSource.open({
      certificates: current("svid.pem"),
      privateKey: current("key.pem"),
      bundles: { "example.org": current("bundle.pem") },
      clock: quick,
    });
    for (let index = 1; index <= 5; index++) {
      await generate(index);
      await eventually(() => same(serialOf(source), generations[index]), `generation ${index}`);
    }
    assert.equal(source.counters.invalid, 0);
  });

  it("looks again by itself where no notice comes", async () => {
    // A link that the path leads to, but is not part of, has its notices elsewhere.
    const elsewhere = mkdtempSync(join(tmpdir(), "elsewhere-"));
    try {
      for (const [name, content] of [
        ["old.pem", bundleOf(ca)],
        ["new.pem", bundleOf(ca) + bundleOf(foreign)],
      ] as const) {
        writeFileSync(join(elsewhere, name), content);
      }
      symlinkSync("old.pem", join(elsewhere, "bundle.pem"));
      unlinkSync(at("bundle.pem"));
      symlinkSync(join(elsewhere, "bundle.pem"), at("bundle.pem"));
      await using source = await FileSource.open(files());
      symlinkSync("new.pem", join(elsewhere, "next.pem"));
      renameSync(join(elsewhere, "next.pem"), join(elsewhere, "bundle.pem"));
      await eventually(() => source.x509BundleFor(OWN)?.authorities.length === 2, "the look");
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it("serves and dials mutual TLS, and a renewal reaches new connections", async () => {
    const web = await FileSource.open(files());
    const orders = await issue({ id: "spiffe://example.org/orders" });
    put("orders.pem", orders.keyPem + orders.certPem);
    const source = await FileSource.open({
      credentials: at("orders.pem"),
      bundles: { "example.org": at("bundle.pem") },
    });
    const server = await listen(source, {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => {
        response.end(peerOf(request)?.id.uri ?? "nobody");
      },
    });
    const call = createFetch(web, { peer: source.id });
    const url = `https://127.0.0.1:${server.port}/`;
    assert.equal(await (await call(url)).text(), ID);
    const renewed = await issue({ id: "spiffe://example.org/cron" });
    put("key.pem", renewed.keyPem);
    put("svid.pem", renewed.certPem);
    await eventually(() => web.id.path === "/cron", "the other identity");
    assert.equal(await (await call(url)).text(), "spiffe://example.org/cron");
    unlinkSync(at("bundle.pem"));
    await eventually(() => web.state === "revoked" && source.state === "revoked", "the removal");
    await assert.rejects(call(url), { code: "ERR_SPIFFE_REVOKED" });
    await server.close();
    await source.close();
    await web.close();
  });

  it("refuses other files than these", async () => {
    const bundles = { "example.org": at("bundle.pem") };
    const wrongFiles: [options: object, code: string][] = [
      [{}, "ERR_SPIFFE_USAGE"],
      [{ bundles }, "ERR_SPIFFE_USAGE"],
      [{ credentials: at("all.pem") }, "ERR_SPIFFE_USAGE"],
      [{ certificates: at("svid.pem"), bundles }, "ERR_SPIFFE_USAGE"],
      [{ folder, bundles }, "ERR_SPIFFE_USAGE"],
      [{ folder, credentials: at("all.pem"), bundles }, "ERR_SPIFFE_USAGE"],
      [{ ...files(), bundles: { "": at("bundle.pem") } }, "ERR_SPIFFE_ID"],
    ];
    for (const [options, code] of wrongFiles) {
      await assert.rejects(FileSource.open(options as FileSourceOptions), { code }, JSON.stringify(options));
    }
    await (await FileSource.open(files())).close();
  });
});
