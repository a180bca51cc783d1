/** X.509 chains: how a path is found, and how long it may be. */
import { LIMITS } from "../../../src/base/index.ts";
import { fromHex } from "../../../src/crypto/octets.ts";
import { issueCa, issueLeaf, NOW } from "../../../src/x509/issue.testing.ts";
import { anchor, below, between, chain, line, ONE, type Presented, root, type X509Recipe } from "./x509.ts";

const OTHER = "other.example";
const EARLIER = new Date(NOW - 1_000);
const THREE = "chain: three intermediates in order";

const building: readonly X509Recipe[] = [
  chain("leaf and authority", "X509-30", {}, async () => ({
    chain: [await issueLeaf(await root())],
    trusted: [await root()],
  })),
  between("one intermediate", "X509-30", {}, {}),
  ...(
    [
      ["in order", ["third", "second", "first"]],
      ["in reverse", ["first", "second", "third"]],
      ["shuffled", ["second", "first", "third"]],
    ] as const
  ).map(([order, names]) =>
    chain(`three intermediates ${order}`, "X509-30", {}, async () => {
      const all = await line();
      return { chain: [await issueLeaf(all.third), ...names.map((name) => all[name])], trusted: [await root()] };
    }),
  ),
  ...(["first", "second", "third"] as const).map((missing) =>
    chain(
      `three intermediates without the ${missing}`,
      "X509-30",
      { reason: "x509.no-path", twin: THREE },
      async () => {
        const { first, second, third } = await line();
        const given = Object.entries({ third, second, first }).filter(([name]) => name !== missing);
        return { chain: [await issueLeaf(third), ...given.map(([, one]) => one)], trusted: [await root()] };
      },
    ),
  ),
  chain("the authority is presented too", "X509-30 X509-38", {}, async () => ({
    chain: [await issueLeaf(await root()), await root()],
    trusted: [await root()],
  })),
  chain("unrelated certificates between", "X509-30", {}, async () => {
    const stranger = await issueCa({ subject: "stranger" });
    const { first } = await line();
    const unrelated = await below(stranger, "unrelated", { notAfter: EARLIER });
    return { chain: [await issueLeaf(first), stranger, unrelated, first], trusted: [await root()] };
  }),
  chain("every certificate twice", "X509-30", {}, async () => {
    const { first } = await line();
    const leaf = await issueLeaf(first);
    return { chain: [leaf, leaf, first, first], trusted: [await root()] };
  }),
  chain("the leaf is not first", "X509-05 X509-13", { reason: "x509.no-uri-san", twin: ONE }, async () => {
    const { first } = await line();
    return { chain: [first, await issueLeaf(first)], trusted: [await root()] };
  }),
  chain("no certificate", "X509-30", { reason: "x509.chain-empty", twin: ONE }, async () => ({
    chain: [],
    trusted: [await root()],
  })),
  chain("two authorities of one name, the first has signed", "X509-30 X509-37", {}, () => rollover(0, [0, 1])),
  chain("two authorities of one name, the second has signed", "X509-30 X509-37", {}, () => rollover(1, [0, 1])),
  chain(
    "two authorities of one name, the one that signed has left",
    "X509-37",
    { reason: "x509.signature", twin: "chain: two authorities of one name, the second has signed" },
    () => rollover(1, [0]),
  ),
  chain("the authority's new key, certified by its old one", "X509-37", {}, async () => {
    const next = await issueCa({ issuer: await root(), subject: "root" });
    return { chain: [await issueLeaf(next), next], trusted: [await root()] };
  }),
  chain("key identifiers that do not match", "X509-37", {}, async () => {
    const ca = await issueCa({ subject: "ca", extensions: [{ oid: "2.5.29.14", value: fromHex("040401020304") }] });
    const leaf = await issueLeaf(ca, { extensions: [{ oid: "2.5.29.35", value: fromHex("3006800405060708") }] });
    return { chain: [leaf], trusted: [ca] };
  }),
  chain("an expired intermediate beside its successor with the same key", "X509-30 X509-37", {}, async () => {
    const valid = await below(await root(), "between");
    const old = await below(await root(), "between", { keyOf: valid, notAfter: EARLIER });
    return { chain: [await issueLeaf(valid), old, valid], trusted: [await root()] };
  }),
  chain("cross-signed, below the authority that is trusted", "X509-30", {}, () => crossed(true)),
  chain(
    "cross-signed, without the certificate by the authority that is trusted",
    "X509-30",
    { reason: "x509.no-path", twin: "chain: cross-signed, below the authority that is trusted" },
    () => crossed(false),
  ),
  chain("authorities that sign one another, with a way in", "X509-37 A-8", {}, () => loop(true)),
  chain(
    "authorities that sign one another, without a way in",
    "X509-37 A-8",
    { reason: "x509.no-path", twin: "chain: authorities that sign one another, with a way in" },
    () => loop(false),
  ),
  chain("an intermediate with an ID of another trust domain", "X509-11 X509-12", {}, async () => {
    const foreign = await below(await root(), "foreign", { names: [{ uri: `spiffe://${OTHER}` }] });
    return { chain: [await issueLeaf(foreign), foreign], trusted: [await root()] };
  }),
  chain(`${LIMITS.chainLength} certificates`, "S-7", {}, () => filled(LIMITS.chainLength)),
  chain(
    `${LIMITS.chainLength + 1} certificates`,
    "S-7",
    {
      reason: "x509.chain-too-large",
      twin: `chain: ${LIMITS.chainLength} certificates`,
      choice: `at most ${LIMITS.chainLength} certificates are read`,
    },
    () => filled(LIMITS.chainLength + 1),
  ),
  chain("less than 64 KiB", "S-7", {}, () => large(7)),
  chain(
    "more than 64 KiB",
    "S-7",
    { reason: "x509.chain-too-large", twin: "chain: less than 64 KiB", choice: "at most 64 KiB are read" },
    () => large(8),
  ),
  chain(
    "240 certificates",
    "S-7 A-8",
    {
      reason: "x509.chain-too-large",
      twin: `chain: ${LIMITS.chainLength} certificates`,
      choice: `at most ${LIMITS.chainLength} certificates are read`,
    },
    () => filled(240),
  ),
];

/** A leaf and this many intermediates of 8 KiB. */
async function large(count: number): Promise<Presented> {
  const big = await below(await root(), "large", { extensions: [{ oid: "1.2.3.4", value: new Uint8Array(8_192) }] });
  return { chain: [await issueLeaf(big), { many: big, times: count }], trusted: [await root()] };
}

async function rollover(signer: 0 | 1, trusted: readonly (0 | 1)[]): Promise<Presented> {
  const authorities = [await issueCa({ subject: "same name" }), await issueCa({ subject: "same name" })] as const;
  return { chain: [await issueLeaf(authorities[signer])], trusted: trusted.map((index) => authorities[index]) };
}

async function crossed(given: boolean): Promise<Presented> {
  const [one, two] = [await issueCa({ subject: "one" }), await issueCa({ subject: "two" })];
  const byOne = await below(one, "between");
  const byTwo = await below(two, "between", { keyOf: byOne });
  return { chain: [await issueLeaf(byOne), byOne, ...(given ? [byTwo] : [])], trusted: [two] };
}

async function loop(entry: boolean): Promise<Presented> {
  const [a, b] = [await issueCa({ subject: "a" }), await issueCa({ subject: "b" })];
  const [ab, ba] = [await below(b, "a", { keyOf: a }), await below(a, "b", { keyOf: b })];
  const way = entry ? [await below(await root(), "b", { keyOf: b })] : [];
  return { chain: [await issueLeaf(a), ab, ba, ...way], trusted: [await root()] };
}

async function filled(count: number): Promise<Presented> {
  const { first } = await line();
  return { chain: [await issueLeaf(first), first, { many: first, times: count - 2 }], trusted: [await root()] };
}

const lengths: readonly X509Recipe[] = [
  anchor("path length 0, no intermediate", "X509-14", {}, { pathLength: 0 }),
  chain(
    "path length 0, one intermediate",
    "X509-14",
    {
      reason: "x509.path-length",
      twin: "chain: path length 1, one intermediate",
    },
    () => limited(0, [undefined]),
  ),
  chain("path length 1, one intermediate", "X509-14", {}, () => limited(1, [undefined])),
  chain(
    "path length 1, two intermediates",
    "X509-14",
    {
      reason: "x509.path-length",
      twin: "chain: path length 1, one intermediate",
    },
    () => limited(1, [undefined, undefined]),
  ),
  chain(
    "an intermediate with a larger path length than is left",
    "X509-14",
    {
      reason: "x509.path-length",
      twin: "chain: path length 1, one intermediate",
    },
    () => limited(1, [5, undefined]),
  ),
  chain("an intermediate with path length 0", "X509-14", {}, () => limited(undefined, [0])),
  chain(
    "an intermediate below one with path length 0",
    "X509-14",
    {
      reason: "x509.path-length",
      twin: "chain: an intermediate with path length 0",
    },
    () => limited(undefined, [0, undefined]),
  ),
  chain("path length 0, a new key of the same authority", "X509-14", {}, async () => {
    const ca = await issueCa({ subject: "limited", pathLength: 0 });
    const again = await issueCa({ issuer: ca, subject: "limited" });
    return { chain: [await issueLeaf(again), again], trusted: [ca] };
  }),
];

/** An authority and intermediates below it, each with its path length. */
async function limited(first: number | undefined, rest: readonly (number | undefined)[]): Promise<Presented> {
  const length = (value: number | undefined) => (value === undefined ? {} : { pathLength: value });
  const ca = await issueCa({ subject: "limited", ...length(first) });
  const chain = [ca];
  for (const [index, value] of rest.entries()) {
    chain.unshift(await below(chain[0]!, `below ${index}`, length(value)));
  }
  return { chain: [await issueLeaf(chain[0]!), ...chain.slice(0, -1)], trusted: [ca] };
}

export const CHAINS: readonly X509Recipe[] = [...building, ...lengths];
