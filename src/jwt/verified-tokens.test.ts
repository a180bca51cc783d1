import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { isSpiffeError } from "../base/index.ts";
import { chooseSyncVerifier, type PreparedCheck, type SignatureVerifier, webcryptoVerifier } from "../crypto/index.ts";
import type { SpiffeId } from "../id/index.ts";
import { type JwtBundle, type JwtBundleSource, VerifiedTokens } from "./index.ts";
import { makeKey, type SigningKey, sign } from "./sign.testing.ts";
import { AUDIENCE, bundleOf, claims, makeWorld, NOW, NOW_MS, SUBJECT, type World } from "./world.testing.ts";

let world: World;
let other: SigningKey;
before(async () => {
  world = await makeWorld();
  other = await makeKey("ES256");
});

/** A clock and a source of bundles that a test can set. */
function setting() {
  const clock = { at: NOW_MS, now: () => clock.at, monotonic: () => 0, sleep: async () => {} };
  const source = {
    bundle: world.bundle as JwtBundle | undefined,
    asked: 0,
    jwtBundleFor(): JwtBundle | undefined {
      source.asked++;
      return source.bundle;
    },
  };
  const tokens = new VerifiedTokens();
  const judge = tokens.judge({ audience: AUDIENCE, clock });
  /** The same, by a verifier that takes its time. */
  const slow = tokens.judge({ audience: AUDIENCE, clock, verifier: webcryptoVerifier });
  const verdict = async (token: string, by = judge, bundles: JwtBundleSource = source) => {
    const result = await by(token, bundles);
    return result.ok ? `accept ${result.value.id}` : result.reason;
  };
  return { clock, source, tokens, judge, slow, verdict };
}
const GOOD = `accept ${SUBJECT}`;

/** The token with the lowest bit of an octet of its signature flipped. */
function spoilt(token: string, octet: number): string {
  const at = token.lastIndexOf(".") + 1;
  const signature = Buffer.from(token.slice(at), "base64url");
  signature[octet]! ^= 1;
  return token.slice(0, at) + signature.toString("base64url");
}

describe("[S-19] verified tokens", () => {
  it("a token is verified once, and what it proves is given anew each time", async () => {
    const { tokens, judge, source } = setting();
    const token = await world.token();
    const first = await judge(token, source);
    const second = await judge(token, source);
    assert.ok(first.ok && second.ok);
    assert.deepEqual(tokens.counters, { hits: 1, misses: 1, evicted: 0 });
    assert.deepEqual(second.value, first.value);
    assert.notEqual(second.value, first.value);
    // a handler that changes the date it was given changes it for itself alone
    second.value.expiresAt.setTime(0);
    const third = await judge(token, source);
    assert.ok(third.ok);
    assert.equal(third.value.expiresAt.getTime(), (NOW + 300) * 1_000);
    assert.ok(
      Object.isFrozen(third.value) && Object.isFrozen(third.value.claims) && Object.isFrozen(third.value.audience),
    );
  });

  it("a hit is told at once where the runtime digests at once", async () => {
    const { judge, source } = setting();
    const token = await world.token();
    await judge(token, source);
    assert.equal(judge(token, source) instanceof Promise, false);
  });

  it("[A-12] one bit of the signature flipped: refused, before and after", async () => {
    const { verdict, tokens } = setting();
    const token = await world.token();
    assert.equal(await verdict(token), GOOD);
    for (let octet = 0; octet < 64; octet++) assert.equal(await verdict(spoilt(token, octet)), "jwt.signature");
    assert.equal(await verdict(token), GOOD);
    assert.deepEqual(tokens.size, { entries: 1, bytes: token.length });
    assert.equal(tokens.counters.hits, 1);
  });

  it("[A-12] other claims or another header under the same signature: refused", async () => {
    const { verdict } = setting();
    const token = await world.token();
    const [header, , signature] = token.split(".");
    const [otherHeader, payload] = (await world.token({ sub: "spiffe://example.org/admin" }, { typ: "JWT" })).split(
      ".",
    );
    assert.equal(await verdict(token), GOOD);
    assert.equal(await verdict(`${header}.${payload}.${signature}`), "jwt.signature");
    assert.equal(await verdict(`${otherHeader}.${token.split(".")[1]}.${signature}`), "jwt.signature");
    assert.equal(await verdict(token), GOOD);
  });

  it("[A-12] after exp and its leeway: refused; a millisecond before: a hit", async () => {
    const { verdict, clock, tokens } = setting();
    const token = await world.token({ exp: NOW + 60 });
    assert.equal(await verdict(token), GOOD);
    clock.at = NOW_MS + 60_000 + 10_000 - 1;
    assert.equal(await verdict(token), GOOD);
    assert.equal(tokens.counters.hits, 1);
    clock.at++;
    assert.equal(await verdict(token), "jwt.expired");
    assert.equal(tokens.size.entries, 0);
    clock.at = Number.NaN;
    assert.equal(await verdict(token), "jwt.expired");
  });

  it("[A-12] before nbf, when the clock goes back: refused", async () => {
    const { verdict, clock } = setting();
    const token = await world.token({ nbf: NOW });
    assert.equal(await verdict(token), GOOD);
    clock.at = NOW_MS - 10_000;
    assert.equal(await verdict(token), GOOD);
    clock.at--;
    assert.equal(await verdict(token), "jwt.not-yet-valid");
    clock.at = NOW_MS;
    assert.equal(await verdict(token), GOOD);
  });

  it("[A-12] after its key left the bundle: refused; in a bundle of the same keys: a hit", async () => {
    const { verdict, source, tokens } = setting();
    const token = await world.token();
    const jwk = { ...world.keys.es256.publicJwk, kid: "es256" };
    const rsa = { ...world.keys.rsa.publicJwk, kid: "rsa" };
    assert.equal(await verdict(token), GOOD);
    source.bundle = bundleOf([rsa, jwk]);
    assert.equal(await verdict(token), GOOD);
    assert.equal(await verdict(token), GOOD);
    assert.equal(tokens.counters.hits, 2);
    source.bundle = bundleOf([rsa]);
    assert.equal(await verdict(token), "jwt.key-not-found");
    source.bundle = bundleOf([]);
    assert.equal(await verdict(token), "jwt.key-not-found");
    source.bundle = undefined;
    assert.equal(await verdict(token), "jwt.no-bundle");
    source.bundle = bundleOf([jwk], "other.example");
    assert.equal(await verdict(token), "jwt.no-bundle");
    // rotated back: trusted again, because it is verified again
    source.bundle = bundleOf([jwk]);
    assert.equal(await verdict(token), GOOD);
    assert.equal(tokens.counters.hits, 2);
  });

  it("[A-12] another key under the same kid, or the same key under another kid or for another alg: refused", async () => {
    const { verdict, source } = setting();
    const token = await world.token();
    const good = world.bundle;
    const key = world.keys.es256.publicJwk;
    const table: [Record<string, unknown>, string][] = [
      [{ ...other.publicJwk, kid: "es256" }, "jwt.signature"],
      [{ ...key, kid: "another" }, "jwt.key-not-found"],
      [{ ...world.keys.es384.publicJwk, kid: "es256" }, "jwt.key-type"],
    ];
    for (const [jwk, reason] of table) {
      source.bundle = good;
      assert.equal(await verdict(token), GOOD);
      source.bundle = bundleOf([jwk]);
      assert.equal(await verdict(token), reason);
    }
  });

  it("[A-12] another audience, other options: judged apart", async () => {
    const { verdict, tokens, clock, judge } = setting();
    const token = await world.token({ aud: [AUDIENCE, "b"], exp: NOW - 20 });
    const lenient = tokens.judge({ audience: AUDIENCE, clock, leewayMs: 60_000 });
    assert.equal(await verdict(token, lenient), GOOD);
    assert.equal(await verdict(token, judge), "jwt.expired");
    assert.equal(await verdict(token, tokens.judge({ audience: "c", clock, leewayMs: 60_000 })), "jwt.audience");
    const odd = await sign(world.keys.es256, { alg: "ES256", kid: "es256", extra: 1 }, claims());
    assert.equal(await verdict(odd, tokens.judge({ audience: AUDIENCE, clock, lenientHeader: true })), GOOD);
    assert.equal(await verdict(odd, judge), "jwt.header");
    const nameless = await sign(world.keys.es256, { alg: "ES256" }, claims());
    assert.equal(await verdict(nameless, judge), GOOD);
    assert.equal(
      await verdict(nameless, tokens.judge({ audience: AUDIENCE, clock, requireKeyId: true })),
      "jwt.header",
    );
  });

  it("[A-12] audiences that only look alike when joined are not one", async () => {
    const { tokens, clock, verdict } = setting();
    const audiences = [["a,b"], ["a", "b"], ["1:a"], ["a", "1:b"], ["a1:b"]];
    for (const mine of audiences) {
      const token = await world.token({ aud: mine });
      for (const audience of audiences) {
        const fits = mine.some((name) => audience.includes(name));
        const expected = fits ? GOOD : "jwt.audience";
        for (let i = 0; i < 2; i++) assert.equal(await verdict(token, tokens.judge({ audience, clock })), expected);
      }
    }
    // the list that a judge was made with is its own
    const names = ["a"];
    const judge = tokens.judge({ audience: names, clock });
    names.push(AUDIENCE);
    assert.equal(await verdict(await world.token(), judge), "jwt.audience");
  });

  it("[A-12] 100,000 invalid tokens, and the valid ones are still remembered", async () => {
    const { verdict, tokens } = setting();
    const valid: string[] = [];
    for (let i = 0; i < 50; i++) valid.push(await world.token({ jti: String(i) }));
    for (const token of valid) assert.equal(await verdict(token), GOOD);
    const before = tokens.size;
    // of another audience, which costs no signature, and spoilt ones, which do
    const [head, , tail] = valid[0]!.split(".");
    const refused = new Map<string, number>();
    for (let i = 0; i < 99_000; i++) {
      const payload = Buffer.from(JSON.stringify(claims({ aud: "other", jti: `n${i}` }))).toString("base64url");
      const reason = await verdict(`${head}.${payload}.${tail}`);
      refused.set(reason, (refused.get(reason) ?? 0) + 1);
    }
    assert.deepEqual([...refused], [["jwt.audience", 99_000]]);
    for (let i = 0; i < 1_000; i++) assert.equal(await verdict(spoilt(valid[i % 50]!, i % 64)), "jwt.signature");
    assert.deepEqual(tokens.size, before);
    const { hits } = tokens.counters;
    for (const token of valid) assert.equal(await verdict(token), GOOD);
    assert.equal(tokens.counters.hits - hits, 50);
    assert.equal(tokens.counters.evicted, 0);
  });

  it("a token with one octet more or another one is another token", async () => {
    const { verdict, tokens } = setting();
    const token = await world.token();
    assert.equal(await verdict(token), GOOD);
    for (const odd of [`${token} `, ` ${token}`, `${token}\n`, `${token}=`, `${token}\u0000`, `${token}.`]) {
      assert.equal(await verdict(odd), "jwt.malformed", JSON.stringify(odd));
    }
    const shifted = token.replace("e", String.fromCharCode("e".charCodeAt(0) + 0x100));
    assert.equal(await verdict(shifted), "jwt.malformed");
    assert.equal(await verdict(token.replace("e", "\ud800")), "jwt.malformed");
    assert.equal(await verdict(token), GOOD);
    assert.equal(tokens.counters.hits, 1);
  });

  it("one flight for the same token; who joins it is judged by its own moment", async () => {
    const { verdict, slow, source, tokens, clock } = setting();
    const together = async (...jti: string[]) => {
      const token = await world.token({ jti: jti.join() });
      return [verdict(token, slow), verdict(token, slow), verdict(token, slow)];
    };
    assert.deepEqual(await Promise.all(await together("1")), [GOOD, GOOD, GOOD]);
    // one look-up by the flight, one by each who joined
    assert.equal(source.asked, 3);
    const pending = await together("2");
    source.bundle = undefined;
    assert.deepEqual(await Promise.all(pending), [GOOD, "jwt.no-bundle", "jwt.no-bundle"]);
    source.bundle = world.bundle;
    const late = await together("3");
    clock.at = NOW_MS + 3_600_000;
    assert.deepEqual(await Promise.all(late), [GOOD, "jwt.expired", "jwt.expired"]);
    assert.equal(tokens.counters.hits, 0);
    clock.at = NOW_MS;
    const token = await world.token();
    assert.deepEqual(await Promise.all([0, 1].map((octet) => verdict(spoilt(token, octet), slow))), [
      "jwt.signature",
      "jwt.signature",
    ]);
    assert.equal(await verdict(token, slow), GOOD);
    assert.equal(await verdict(token, slow), GOOD);
    assert.equal(tokens.counters.hits, 1);
  });

  it("[A-12] who joins the flight of a refused token hears the refusal; a flight costs one check", async () => {
    const { verdict, tokens, clock } = setting();
    let checks = 0;
    const verify: SignatureVerifier["verify"] = (...check) => {
      checks++;
      return webcryptoVerifier.verify(...check);
    };
    const judge = tokens.judge({ audience: AUDIENCE, clock, verifier: { ...webcryptoVerifier, verify } });
    const token = await world.token();
    for (const [shown, wanted] of [
      [spoilt(token, 9), "jwt.signature"],
      [token, GOOD],
    ] as const) {
      checks = 0;
      assert.deepEqual(await Promise.all([1, 2, 3].map(() => verdict(shown, judge))), [wanted, wanted, wanted]);
      assert.equal(checks, 1, wanted);
    }
    assert.equal(await verdict(undefined as never, judge), "jwt.malformed");
  });

  it("[A-12] tokens of one turn are judged together, each by itself, whatever stands beside it", async () => {
    const { source, clock } = setting();
    const own = chooseSyncVerifier();
    const sizes: number[] = [];
    const verifier: SignatureVerifier = {
      ...own,
      verifyBatch: (checks: readonly PreparedCheck[]) => {
        sizes.push(checks.length);
        return own.verifyBatch!(checks);
      },
    } as SignatureVerifier;
    const good: string[] = [];
    for (let i = 0; i < 12; i++) good.push(await world.token({ jti: `t${i}` }));
    const other = await world.token({ aud: "other" });
    const alien = await sign(world.keys.es384, { alg: "ES384", kid: "es256" }, claims());
    const es384 = await sign(world.keys.es384, { alg: "ES384", kid: "es384" }, claims());
    const bad = [spoilt(good[0]!, 0), spoilt(good[1]!, 31), spoilt(good[2]!, 63), other, alien, "e30.e30.AA"];
    for (const maxEntries of [0, 1_000]) {
      for (let turn = 0; turn < 6; turn++) {
        const judge = new VerifiedTokens({ maxEntries }).judge({ audience: AUDIENCE, clock, verifier });
        const all = [...good, es384];
        for (const [i, token] of bad.entries()) all.splice((i * 5 + turn * 3) % all.length, 0, token);
        const verdicts = await Promise.all(all.map((token) => judge(token, source)));
        const wanted = all.map((token) => !bad.includes(token));
        assert.deepEqual(
          verdicts.map(({ ok }) => ok),
          wanted,
        );
        for (const [i, verdict] of verdicts.entries()) {
          const { jti } = JSON.parse(Buffer.from(all[i]!.split(".")[1]!, "base64url").toString()) as { jti?: string };
          if (verdict.ok) assert.equal(verdict.value.claims.jti, jti);
        }
      }
    }
    assert.ok(sizes.includes(13 + 3), `${sizes}`);
  });

  it("[A-12] a token is judged by the bundle and the time at the end of its turn", async () => {
    const { verdict, source, clock, tokens } = setting();
    const made: string[] = [];
    for (let i = 0; i < 9; i++) made.push(await world.token({ jti: `e${i}` }));
    // a verifier that nobody used, which waits for others from the first on
    const options = { audience: AUDIENCE, clock, verifier: { ...chooseSyncVerifier() } };
    const judge = tokens.judge(options);
    const none = new VerifiedTokens({ maxEntries: 0 }).judge(options);
    const begin = (from: number) =>
      made.slice(from, from + 3).flatMap((token) => [verdict(token, judge), verdict(token, none)]);
    assert.deepEqual(await Promise.all(begin(0)), Array(6).fill(GOOD));
    const removed = begin(3);
    source.bundle = bundleOf([{ ...other.publicJwk, kid: "other" }]);
    assert.deepEqual(await Promise.all(removed), Array(6).fill("jwt.key-not-found"));
    assert.deepEqual(await Promise.all(begin(0)), Array(6).fill("jwt.key-not-found"), "those that were remembered too");
    source.bundle = world.bundle;
    const late = begin(3);
    clock.at = NOW_MS + 3_600_000;
    assert.deepEqual(await Promise.all(late), Array(6).fill("jwt.expired"));
    clock.at = NOW_MS;
    assert.deepEqual(await Promise.all(begin(3)), Array(6).fill(GOOD));
    assert.equal(tokens.size.entries, 3);
    const before = source.asked;
    const twice = await Promise.all([judge(made[6]!, source), judge(made[6]!, source)]);
    assert.ok(twice.every(({ ok }) => ok));
    assert.notEqual(twice[0], twice[1], "what it proves is given anew");
    // one by the flight, one by who joined it
    assert.equal(source.asked - before, 2);
  });

  it("callers with other bundles do not share a flight", async () => {
    const { verdict, slow, source } = setting();
    const token = await world.token();
    const nothing = { jwtBundleFor: () => undefined };
    const pending = [verdict(token, slow, nothing), verdict(token, slow, source), verdict(token, slow, nothing)];
    assert.deepEqual(await Promise.all(pending), ["jwt.no-bundle", GOOD, "jwt.no-bundle"]);
    assert.equal(await verdict(token, slow, nothing), "jwt.no-bundle");
    assert.equal(await verdict(token, slow, source), GOOD);
  });

  it("a token that two flights remember is counted once", async () => {
    const { verdict, slow, source, tokens } = setting();
    const token = await world.token();
    const same = { jwtBundleFor: () => source.bundle };
    assert.deepEqual(await Promise.all([verdict(token, slow), verdict(token, slow, same)]), [GOOD, GOOD]);
    assert.deepEqual(tokens.size, { entries: 1, bytes: token.length });
  });

  it("what another verifier has found does not count", async () => {
    const { verdict, judge, tokens, clock } = setting();
    const token = spoilt(await world.token(), 3);
    const anything: SignatureVerifier = { name: "yes", sync: true, importKey: () => ({}), verify: () => true };
    const careless = tokens.judge({ audience: AUDIENCE, clock, verifier: anything });
    assert.equal(await verdict(token, careless), GOOD);
    assert.equal(await verdict(token, judge), "jwt.signature");
    assert.equal(await verdict(token, careless), GOOD);
    assert.equal(tokens.counters.hits, 1);
  });

  it("bounded in tokens and bytes; what was used last stays", async () => {
    const made: string[] = [];
    for (let i = 0; i < 6; i++) made.push(await world.token({ jti: `${i}` }));
    const { source, clock, verdict } = setting();
    const few = new VerifiedTokens({ maxEntries: 3 });
    const judge = few.judge({ audience: AUDIENCE, clock });
    for (const token of made.slice(0, 3)) await judge(token, source);
    await judge(made[0]!, source);
    await judge(made[3]!, source);
    assert.deepEqual(few.counters, { hits: 1, misses: 4, evicted: 1 });
    assert.equal(judge(made[0]!, source) instanceof Promise, false);
    assert.equal(few.counters.hits, 2);
    await judge(made[1]!, source);
    assert.equal(few.counters.hits, 2);
    const small = new VerifiedTokens({ maxBytes: 2 * made[0]!.length });
    const bySize = small.judge({ audience: AUDIENCE, clock });
    for (const token of made) await bySize(token, source);
    assert.deepEqual(small.size, { entries: 2, bytes: 2 * made[0]!.length });
    const none = new VerifiedTokens({ maxEntries: 0 });
    const always = none.judge({ audience: AUDIENCE, clock });
    for (let i = 0; i < 2; i++) assert.equal(await verdict(made[0]!, always), GOOD);
    assert.deepEqual(none.size, { entries: 0, bytes: 0 });
    for (const maxEntries of [-1, 1.5, Number.NaN, "9" as never])
      assert.throws(
        () => new VerifiedTokens({ maxEntries }),
        (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
      );
    for (const audience of [[], undefined as never, null as never])
      assert.throws(
        () => few.judge({ audience }),
        (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
      );
  });

  it("one that has to go is found in bounded time, also when all were used; those used are spared for others", async () => {
    const { source, clock } = setting();
    const tokens = new VerifiedTokens({ maxEntries: 70 });
    const judge = tokens.judge({ audience: AUDIENCE, clock });
    const hits = async (token: string) => {
      const { hits: before } = tokens.counters;
      assert.ok((await judge(token, source)).ok);
      return tokens.counters.hits - before;
    };
    const made: string[] = [];
    for (let i = 0; i < 72; i++) made.push(await world.token({ jti: `${i}` }));
    for (const token of made.slice(0, 70)) assert.equal(await hits(token), 0);
    for (const token of made.slice(0, 70)) assert.equal(await hits(token), 1);
    // 64 are spared, the next goes
    assert.equal(await hits(made[70]!), 0);
    assert.deepEqual(tokens.size.entries, 70);
    assert.equal(tokens.counters.evicted, 1);
    // of those that are left, five were used and not asked yet, and the newest was not used
    assert.equal(await hits(made[71]!), 0);
    assert.equal(tokens.counters.evicted, 2);
    for (const i of [0, 63, 65, 69, 71]) assert.equal(await hits(made[i]!), 1, `${i}`);
    for (const i of [64, 70]) assert.equal(await hits(made[i]!), 0, `${i}`);
  });

  it("tokens of one workload share its ID, which nobody can change; many workloads are told apart", async () => {
    const { judge, source } = setting();
    const seen: SpiffeId[] = [];
    for (let i = 0; i < 1_100; i++) {
      const sub = `spiffe://example.org/w-${i}`;
      const verdict = await judge(await world.token({ sub }), source);
      assert.ok(verdict.ok);
      assert.equal(verdict.value.id.uri, sub);
      assert.deepEqual(verdict.value.audience, [AUDIENCE]);
      seen.push(verdict.value.id);
    }
    const again = async (i: number) => {
      const verdict = await judge(await world.token({ sub: `spiffe://example.org/w-${i}`, jti: "2" }), source);
      assert.ok(verdict.ok);
      return verdict.value.id;
    };
    assert.equal(await again(1_099), seen[1_099]);
    // more than are kept: made anew
    assert.notEqual(await again(0), seen[0]);
    assert.ok((await again(0)).equals(seen[0]!));
    assert.throws(() => Object.assign(seen[0]!, { uri: "spiffe://example.org/admin" }), TypeError);
    assert.equal(seen[0]!.trustDomain.name, "example.org");
  });

  it("a source that throws is the caller's to hear, and changes nothing", async () => {
    const { verdict, judge, source, tokens } = setting();
    const token = await world.token();
    const broken = {
      jwtBundleFor(): never {
        throw new Error("closed");
      },
    };
    assert.equal(await verdict(token), GOOD);
    await assert.rejects(verdict(token, judge, broken), /closed/);
    assert.equal(await verdict(token, judge, source), GOOD);
    assert.deepEqual(tokens.size, { entries: 1, bytes: token.length });
  });

  it("holds no token that could be printed", async () => {
    const { tokens, verdict, judge, source } = setting();
    const token = await world.token();
    await verdict(token);
    const shown = [
      inspect(tokens, { depth: 9, showHidden: true }),
      JSON.stringify(tokens),
      inspect(judge(token, source), { depth: 9 }),
    ];
    for (const text of shown) for (const part of token.split(".")) assert.equal(text.includes(part), false);
  });
});
