/** Mutated JSON documents, PEM, base64 and SPIFFE IDs. */
import { BundleMap, SpiffeBundle } from "../../../src/bundle/index.ts";
import { decodeBase64, decodeBase64Url } from "../../../src/encoding/base64.ts";
import { decodePem, encodePem } from "../../../src/encoding/pem.ts";
import { parseJson } from "../../../src/encoding/strict-json.ts";
import { SpiffeId, TrustDomain } from "../../../src/id/index.ts";
import { JwtBundle } from "../../../src/jwt/index.ts";
import { X509Bundle, X509Svid } from "../../../src/x509/index.ts";
import { chainCase } from "../differential.ts";
import { type FixedKey, KEYS } from "../keys.ts";
import { base64, call, equal, type Mutant, type Target, throwing } from "../mutants.ts";
import { mutateJson } from "../mutate-json.ts";
import { mutateText } from "../mutate-text.ts";
import { Random } from "../random.ts";
import { publicJwk } from "../tokens.ts";

const CORPUS = 4;

const anchors = Array.from({ length: 20 }, (_, index) => chainCase(CORPUS, index)).flatMap((one) => [...one.anchors]);
const keyOf = new Map(KEYS.map((key) => [key, publicJwk(key)] as const));

function bundleDocument(random: Random): Record<string, unknown> {
  const jwtKeys = random.shuffled(KEYS).slice(0, random.below(4));
  const authority = (der: Uint8Array) => ({ ...keyOf.get(KEYS[0]!), use: "x509-svid", x5c: [base64(der)] });
  const jwt = (key: FixedKey, i: number) => ({ ...keyOf.get(key), use: "jwt-svid", kid: `key-${i}` });
  return {
    keys: [...random.shuffled(anchors).slice(0, random.below(3)).map(authority), ...jwtKeys.map(jwt)],
    ...(random.chance(0.7) && { spiffe_sequence: random.below(2 ** 31) }),
    ...(random.chance(0.7) && { spiffe_refresh_hint: random.below(10_000) }),
  };
}

const plain = new Random(CORPUS, "documents");
const bundles = Array.from({ length: 30 }, () => JSON.stringify(bundleDocument(plain)));
const maps = Array.from({ length: 10 }, () =>
  JSON.stringify({ trust_domains: { "example.org": bundleDocument(plain), td: bundleDocument(plain) } }),
);

/** What `JSON.parse` makes of bytes; `undefined` when it refuses them. */
function plainJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

const bundle: Target = {
  name: "bundle",
  share: 80,
  mutate(random) {
    const mutant = mutateJson(random.pick(bundles), random);
    const elements = () => (plainJson(mutant) as { keys?: unknown[] } | undefined)?.keys?.length ?? -1;
    return {
      input: [base64(mutant)],
      calls: [
        call(
          "SpiffeBundle.safeParse",
          () => SpiffeBundle.safeParse("example.org", mutant),
          (value) => {
            const held = value.x509.authorities.length + value.jwt.keys.length;
            if (held > elements()) return `ACCEPTED with ${held} keys out of ${elements()}`;
            const again = SpiffeBundle.safeParse("example.org", value.toJson());
            return again.ok && again.value.equals(value) ? undefined : "what it writes is not what it read";
          },
        ),
        ...(["workload-api", "spiffe-bundle"] as const).map((profile) =>
          call(
            `JwtBundle as ${profile}`,
            () => JwtBundle.safeFromJwks("example.org", mutant, profile),
            ({ keys }) =>
              keys.length > elements() ? `ACCEPTED with ${keys.length} keys out of ${elements()}` : undefined,
          ),
        ),
      ],
    };
  },
};

const bundleMap: Target = {
  name: "bundle-map",
  share: 40,
  mutate(random) {
    const mutant = mutateJson(random.pick(maps), random);
    return {
      input: [base64(mutant)],
      calls: [
        call(
          "BundleMap.safeParse",
          () => BundleMap.safeParse(mutant),
          (value) => {
            const listed = Object.keys(
              (plainJson(mutant) as { trust_domains?: object } | undefined)?.trust_domains ?? {},
            );
            if (value.trustDomains.join() !== listed.sort().join()) return `ACCEPTED with ${value.trustDomains}`;
            const again = BundleMap.safeParse(value.toJson());
            return again.ok && again.value.equals(value) ? undefined : "what it writes is not what it read";
          },
        ),
      ],
    };
  },
};

/** A value as `JSON.parse` gives it: numbers rounded. */
function rounded(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, rounded(inner)]));
}

/** Members of a text that is JSON, each as often as it is written. */
function writtenMembers(bytes: Uint8Array): number {
  return (
    Buffer.from(bytes)
      .toString("utf8")
      .match(/"(?:[^"\\]|\\.)*"\s*:/g)?.length ?? 0
  );
}

function heldMembers(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value).reduce((sum: number, one) => sum + heldMembers(one), 0);
  return inner + (Array.isArray(value) ? 0 : Object.keys(value).length);
}

const json: Target = {
  name: "json",
  share: 60,
  mutate(random) {
    const mutant = mutateJson(random.pick(random.chance(0.5) ? bundles : maps), random);
    return {
      input: [base64(mutant)],
      calls: [
        call(
          "parseJson",
          () => parseJson(mutant, { maxBytes: 100_000 }),
          (value) => {
            const expected = plainJson(mutant);
            if (expected === undefined) return "ACCEPTED, but JSON.parse refuses it";
            if (heldMembers(value) !== writtenMembers(mutant)) return "ACCEPTED, but a member comes twice";
            const same = JSON.stringify(rounded(value)) === JSON.stringify(expected);
            return same ? undefined : "the value differs from that of JSON.parse";
          },
        ),
      ],
    };
  },
};

const certificates = anchors.slice(0, 8);
const pems = [
  ...certificates.map((der) => encodePem("CERTIFICATE", der)),
  certificates.map((der) => `a note\n${encodePem("CERTIFICATE", der)}`).join("\n"),
  ...KEYS.slice(0, 8).map(({ pkcs8 }) => encodePem("PRIVATE KEY", pkcs8)),
];

const pem: Target = {
  name: "pem",
  share: 40,
  mutate(random) {
    const mutant = mutateText(random.pick(pems), random);
    const fromFiles = async () => {
      const [certificate, key] = random.chance(0.5) ? [mutant, pems.at(-1)!] : [pems[0]!, mutant];
      return X509Svid.fromPem(certificate, key);
    };
    return {
      input: [JSON.stringify(mutant)],
      calls: [
        call(
          "decodePem",
          () => decodePem(mutant),
          (blocks) => {
            const begins = mutant.match(/-----BEGIN /g)?.length ?? 0;
            if (begins !== blocks.length) return `ACCEPTED with ${blocks.length} blocks of ${begins}`;
            const again = decodePem(blocks.map(({ label, der }) => encodePem(label, der)).join(""));
            const same = again.ok && again.value.every(({ der }, i) => equal(der, blocks[i]!.der));
            return same ? undefined : "what is written of it is read otherwise";
          },
        ),
        call("X509Bundle.safeFromPem", () => X509Bundle.safeFromPem("example.org", mutant)),
        ...(random.chance(0.2) ? [throwing("X509Svid.fromPem", fromFiles)] : []),
      ],
    };
  },
};

const base64Text: Target = {
  name: "base64",
  share: 25,
  mutate(random) {
    const bytes = Buffer.from(random.bytes(random.below(80)));
    const mutant = mutateText(bytes.toString(random.pick(["base64", "base64url"])), random);
    const same = (kind: "base64" | "base64url") => (value: Uint8Array) =>
      Buffer.from(value).toString(kind) === mutant ? undefined : "ACCEPTED, but it is not the text of its octets";
    return {
      input: [JSON.stringify(mutant)],
      calls: [
        call("decodeBase64", () => decodeBase64(mutant), same("base64")),
        call("decodeBase64Url", () => decodeBase64Url(mutant), same("base64url")),
      ],
    };
  },
};

const IDS = [
  "spiffe://example.org",
  "spiffe://example.org/web",
  "spiffe://example.org/ns/shop/sa/web",
  "spiffe://td_1.example-2.org/A.b_c-d/...",
  "spiffe://192.168.1.1/a/b/c/d/e",
  `spiffe://${"d".repeat(255)}/${"p".repeat(1_700)}`,
  `spiffe://td${"/a".repeat(1_000)}`,
];
/** SPIFFE-ID §2 as one pattern, written apart from the scanner. */
const GRAMMAR = /^spiffe:\/\/([a-z0-9._-]+)((?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*)$/;

function isId(text: string): boolean {
  const domain = GRAMMAR.exec(text)?.[1];
  return domain !== undefined && !text.includes("\n") && domain.length <= 255 && text.length <= 2_048;
}

function idCalls(random: Random, mutant: string): Mutant["calls"] {
  const right =
    (text: string) =>
    ({ uri }: SpiffeId) =>
      isId(text) && uri === text ? undefined : "ACCEPTED, but the grammar refuses it";
  const bytes = Buffer.from(mutant, random.pick(["latin1", "utf8"] as const));
  const folded = mutant.replace(/^[A-Za-z]+:\/\/[^/]*/, (authority) =>
    authority.replace(/[A-Z]/g, (c) => c.toLowerCase()),
  );
  return [
    call("SpiffeId.safeParse", () => SpiffeId.safeParse(mutant), right(mutant)),
    call("SpiffeId.safeParse of bytes", () => SpiffeId.safeParse(bytes), right(bytes.toString("latin1"))),
    call("SpiffeId.safeParseConfig", () => SpiffeId.safeParseConfig(mutant), right(folded)),
    throwing("SpiffeId.parse", () => SpiffeId.parse(mutant)),
    call(
      "TrustDomain.safeParse",
      () => TrustDomain.safeParse(mutant),
      ({ name }) =>
        isId(`spiffe://${name}`) && (mutant === name || isId(mutant)) ? undefined : "ACCEPTED, but it is no name",
    ),
    throwing("SpiffeId.fromPath", () => SpiffeId.fromPath("example.org", mutant)),
    throwing("SpiffeId.fromSegments", () => SpiffeId.fromSegments("example.org", ...mutant.slice(0, 3_000).split("/"))),
  ];
}

const id: Target = {
  name: "spiffe-id",
  share: 60,
  mutate(random) {
    const mutant = mutateText(random.pick(IDS), random);
    return { input: [JSON.stringify(mutant)], calls: idCalls(random, mutant) };
  },
};

export const DOCUMENT_TARGETS: readonly Target[] = [bundle, bundleMap, json, pem, base64Text, id];
