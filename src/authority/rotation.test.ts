import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { eventually } from "../../test/support/eventually.ts";
import { type Clock, systemClock } from "../base/index.ts";
import { SpiffeWorkloadAPI, type X509SVID } from "../gen/workload/workload_pb.js";
import { TrustDomain } from "../id/index.ts";
import { type JwtBundle, validateJwtSvid } from "../jwt/index.ts";
import { type Certificate, verifyX509Svid, X509Bundle, X509Svid } from "../x509/index.ts";
import { Authority, ManualClock } from "./testing.ts";

const SECURITY = { headers: { "workload.spiffe.io": "true" } };
const ORG = TrustDomain.parse("example.org");
const START = Date.UTC(2026, 5, 1, 12);
const web = { id: "spiffe://example.org/web", socket: "web" };

function clientOf(authority: Authority): Client<typeof SpiffeWorkloadAPI> {
  const path = authority.socketFor("web").slice("unix://".length);
  return createClient(
    SpiffeWorkloadAPI,
    createGrpcTransport({ baseUrl: "http://localhost", nodeOptions: { createConnection: () => connect(path) } }),
  );
}

/** What a workload was told, and when by the manual clock. */
interface Told {
  at: number;
  svid: X509Svid;
  bundle: X509Bundle;
}

/** A workload that keeps its stream open and notes every message. */
class Witness {
  readonly history: Told[] = [];
  readonly done: Promise<void>;
  readonly #stop: AbortController = new AbortController();
  #wake: () => void = () => {};

  constructor(authority: Authority, clock: Clock) {
    const options = { ...SECURITY, signal: this.#stop.signal };
    this.done = (async () => {
      for await (const { svids } of clientOf(authority).fetchX509SVID({}, options)) {
        this.history.push(await toldBy(svids, clock));
        this.#wake();
      }
    })().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  get last(): Told {
    const last = this.history.at(-1);
    assert.ok(last);
    return last;
  }

  /** Resolves once a message satisfies the condition. */
  async until(condition: (told: Told) => boolean): Promise<Told> {
    for (;;) {
      const found = this.history.find(condition);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

/** One fetch with a stream that is closed at once. */
async function fetchOnce(client: Client<typeof SpiffeWorkloadAPI>, clock: Clock): Promise<Told> {
  for await (const { svids } of client.fetchX509SVID({}, SECURITY)) return toldBy(svids, clock);
  throw new Error("the stream ended without a message");
}

async function toldBy(svids: readonly X509SVID[], clock: Clock): Promise<Told> {
  const [only] = svids;
  assert.ok(only);
  const at = clock.now();
  const svid = await X509Svid.parse(only.x509Svid, only.x509SvidKey);
  return { at, svid, bundle: X509Bundle.fromDer(ORG, only.bundle) };
}

function serialOf(certificate: Certificate): string {
  return certificate.serialNumber;
}

function kids(bundle: JwtBundle): string[] {
  return bundle.keys.map((key) => key.keyId ?? "");
}

async function signerOf(told: Told, among: readonly Certificate[]): Promise<Certificate> {
  const clock = { now: () => told.at, monotonic: () => 0, sleep: async () => {} };
  const bundle = X509Bundle.fromDer(ORG, joined(among));
  const { chain } = await verifyX509Svid(told.svid.certificates, { x509BundleFor: () => bundle }, { clock });
  const anchor = chain.at(-1);
  assert.ok(anchor);
  return anchor;
}

function joined(certificates: readonly Certificate[]): Uint8Array {
  return Buffer.concat(certificates.map((certificate) => certificate.der));
}

describe("rotation of the authority", () => {
  let clock: ManualClock;
  let authority: Authority;
  let witness: Witness;

  const begin = async (lives: { x509TtlMs?: number; jwtTtlMs?: number; caTtlMs?: number; prepareMs?: number }) => {
    clock = new ManualClock(START);
    authority = await Authority.start({ trustDomain: "example.org", entries: [web], clock, ...lives });
    witness = new Witness(authority, clock);
    await witness.until(() => true);
  };
  const finish = async () => {
    await witness.stop();
    await authority.close();
  };

  it("[S-28] [WL-07] issues an SVID anew at half of its life, not earlier", async () => {
    await begin({ x509TtlMs: 60_000 });
    const first = witness.last;
    assert.equal(first.svid.expiresAt.getTime(), START + 60_000);
    await clock.advance(29_000);
    assert.equal(witness.history.length, 1);
    await clock.advance(2_000);
    const second = await witness.until(({ svid }) => !svid.leaf.equals(first.svid.leaf));
    assert.equal(second.svid.expiresAt.getTime(), START + 90_000);
    assert.ok(second.bundle.equals(first.bundle));
    assert.equal(second.svid.leaf.publicKey.equals(first.svid.leaf.publicKey), false);
    await finish();
  });

  it("issues a fresh SVID to a caller who comes after a step of the wall clock", async () => {
    await begin({ x509TtlMs: 60_000 });
    for (const step of [3_600_000, -7_200_000]) {
      clock.step(step);
      const { svid } = await fetchOnce(clientOf(authority), clock);
      assert.equal(svid.expiresAt.getTime(), clock.now() + 60_000);
    }
    await finish();
  });

  it("[S-28] rotate() publishes the new keys, waits, and then signs with them", async () => {
    await begin({ x509TtlMs: 60_000, jwtTtlMs: 30_000, prepareMs: 5_000 });
    const old = witness.last;
    const oldKeys = kids(authority.jwtBundle());
    let rotated = false;
    const rotation = authority.rotate().then(() => {
      rotated = true;
    });
    const prepared = await witness.until(({ bundle }) => bundle.authorities.length === 2);
    assert.ok(prepared.svid.leaf.equals(old.svid.leaf), "the old SVID stays while the new CA is only prepared");
    assert.equal(authority.jwtBundle().keys.length, 2);
    await clock.advance(4_000);
    assert.equal(rotated, false);
    const early = await clientOf(authority).fetchJWTSVID({ audience: ["a"] }, SECURITY);
    await clock.advance(1_000);
    await rotation;
    const fresh = await witness.until(({ svid }) => !svid.leaf.equals(old.svid.leaf));
    const [oldCa] = old.bundle.authorities;
    assert.ok(oldCa);
    const newCa = await signerOf(fresh, fresh.bundle.authorities);
    assert.equal(newCa.equals(oldCa), false);
    assert.ok(prepared.bundle.has(newCa), "the signer was in the bundle before it signed");
    assert.ok(fresh.bundle.has(oldCa), "the old CA stays for the SVIDs it signed");

    const late = await clientOf(authority).fetchJWTSVID({ audience: ["a"] }, SECURITY);
    const header = (token: string) => JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString());
    assert.ok(oldKeys.includes(header(early.svids[0]?.svid ?? "").kid));
    assert.equal(oldKeys.includes(header(late.svids[0]?.svid ?? "").kid), false);
    for (const { svids } of [early, late]) {
      const bundles = { jwtBundleFor: () => authority.jwtBundle() };
      await validateJwtSvid(svids[0]?.svid ?? "", bundles, { audience: "a", clock });
    }

    // the last JWT-SVID of the old keys ends at 4 + 30 s, the last X.509-SVID at 60 s
    await clock.advance(28_000);
    assert.equal(authority.jwtBundle().keys.length, 2);
    await clock.advance(2_000);
    await eventually(() => authority.jwtBundle().keys.length === 1);
    assert.equal(authority.x509Bundle().authorities.length, 2);
    await clock.advance(24_000);
    assert.equal(authority.x509Bundle().authorities.length, 2);
    await clock.advance(2_000);
    const rest = await witness.until(({ bundle }) => !bundle.has(oldCa));
    assert.deepEqual(rest.bundle.authorities.map(serialOf), [newCa.serialNumber]);
    await finish();
  });

  it("[S-28] over many rotations every signer was published long enough before, and as long as its SVIDs live", async () => {
    const prepareMs = 3_000;
    const stepMs = 1_000;
    await begin({ x509TtlMs: 4_000, jwtTtlMs: 4_000, caTtlMs: 20_000, prepareMs });
    const client = clientOf(authority);
    const samples: (Told & { signer: Certificate })[] = [];
    for (let step = 0; step < 45; step++) {
      const told = await fetchOnce(client, clock);
      samples.push({ ...told, signer: await signerOf(told, told.bundle.authorities) });
      await clock.advance(stepMs);
    }
    const signers = new Set(samples.map(({ signer }) => signer.serialNumber));
    assert.ok(signers.size >= 3, `${signers.size} signers`);
    for (const { at, svid, signer } of samples) {
      const end = svid.expiresAt.getTime();
      assert.ok(end > at, "no expired SVID is handed out");
      assert.ok(signer.notAfter.getTime() >= end, "no SVID outlives its CA");
      const firstUse = samples.find((sample) => sample.signer.equals(signer))?.at ?? 0;
      const mustHave = samples.filter((sample) => sample.at > firstUse - prepareMs && sample.at <= end);
      if (firstUse === START) continue;
      assert.ok(mustHave.length > prepareMs / stepMs);
      assert.ok(
        mustHave.every(({ bundle }) => bundle.has(signer)),
        "published before it signs and as long as its SVIDs live",
      );
    }
    await eventually(() => authority.x509Bundle().authorities.length <= 2);
    await finish();
  });

  it("lives on the real clock with lives of a second", async () => {
    const short = await Authority.start({
      trustDomain: "example.org",
      entries: [{ ...web, ttlMs: 1_000 }],
      caTtlMs: 2_000,
    });
    const seen = new Set<string>();
    for await (const { svids } of clientOf(short).fetchX509SVID({}, SECURITY)) {
      const { svid, bundle } = await toldBy(svids, systemClock);
      // on a busy machine a second may be over before the message is read
      const clock = { ...systemClock, now: () => svid.expiresAt.getTime() - 1 };
      await verifyX509Svid(svid.certificates, { x509BundleFor: () => bundle }, { clock });
      seen.add(svid.leaf.serialNumber);
      if (seen.size === 3) break;
    }
    await short.close();
  });

  it("refuses lives and a preparation that cannot work", async () => {
    const wrong = [
      { x509TtlMs: 999 },
      { jwtTtlMs: Number.NaN },
      { caTtlMs: 0 },
      { caTtlMs: 4_000, prepareMs: 1_001 },
      { prepareMs: -1 },
    ];
    for (const lives of wrong) {
      const options = { trustDomain: "example.org", entries: [web], ...lives };
      await assert.rejects(Authority.start(options), { code: "ERR_SPIFFE_CONFIG" }, JSON.stringify(lives));
    }
    const right = { x509TtlMs: 1_000, jwtTtlMs: 1_000, caTtlMs: 4_000, prepareMs: 1_000 };
    await (await Authority.start({ trustDomain: "example.org", entries: [web], ...right })).close();
  });
});
