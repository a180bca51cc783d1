/** What can be wrong with a token, as a table: each flaw changes a valid draft in one thing. */
import { ecdsaP1363ToDer } from "../../src/crypto/signature.ts";
import { KEYS, type Signing, schemesOf } from "./keys.ts";
import type { Random } from "./random.ts";
import { AUDIENCE, NOW_SECONDS, publicJwk, type TokenDraft } from "./tokens.ts";

type Change = (draft: TokenDraft, random: Random) => void;

/** Puts members into the header, or takes those out that are `undefined`. */
const header =
  (...choices: readonly Record<string, unknown>[]): Change =>
  (draft, random) =>
    Object.assign(draft.header, random.pick(choices));

const claims =
  (...choices: readonly Record<string, unknown>[]): Change =>
  (draft, random) =>
    Object.assign(draft.claims, random.pick(choices));

const text =
  (
    ...choices: readonly ((header: string, payload: string) => readonly [string | Uint8Array, string | Uint8Array])[]
  ): Change =>
  (draft, random) =>
    void (draft.rewrite = random.pick(choices));

const spelling =
  (...choices: readonly ((header: string, payload: string, signature: string) => string)[]): Change =>
  (draft, random) =>
    void (draft.respell = random.pick(choices));

const bytes = (...parts: readonly (string | Uint8Array)[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part as string))));

const schemeName = (signing: Signing) => `${signing.family} ${"hash" in signing ? signing.hash : ""}`;

const own: Change = (draft, random) => {
  const jwk = publicJwk(random.pick(KEYS.filter(({ type }) => type === "P-256")));
  Object.assign(
    draft.header,
    random.pick([{ jwk }, { jku: "https://example.org/keys" }, { x5c: ["MIIB"] }, { x5u: "https://example.org" }]),
  );
};

/** The flaws by name. */
export const TOKEN_FLAWS: Readonly<Record<string, Change>> = {
  "algorithm-unknown": header(
    ...["none", "None", "HS256", "EdDSA", "ES256K", "RS256 ", "rs256", "", "PS1"].map((alg) => ({ alg })),
    { alg: undefined },
    { alg: null },
    { alg: ["RS256"] },
  ),
  "algorithm-of-another-key": (draft, random) => {
    const { alg } = draft.header;
    draft.header.alg = random.pick(
      ["RS256", "ES256", "PS384", "ES512", "ES384", "RS512"].filter((other) => other !== alg),
    );
  },
  "header-names-a-key": own,
  "header-unknown-member": header({ foo: 1 }, { cty: "JWT" }, { zip: "DEF" }, { x5t: "AA" }),
  "header-critical": header({ crit: ["exp"], exp: 1 }, { crit: [] }, { crit: ["b64"], b64: true }, { b64: false }),
  type: header(
    ...["jwt", "at+jwt", "wit+jwt", "application/jwt", ""].map((typ) => ({ typ })),
    { typ: null },
    { typ: 1 },
  ),
  "key-id-unknown": header({ kid: "nobody" }, { kid: "__proto__" }),
  "key-id-no-text": header({ kid: "" }, { kid: 1 }, { kid: null }),
  "header-no-object": text(
    (_, payload) => ["[]", payload],
    (_, payload) => ['"x"', payload],
    (_, payload) => ["", payload],
  ),
  "header-member-twice": text((plain, payload) => [`{"alg":"none",${plain.slice(1)}`, payload]),
  "header-too-large": header({ kid: "k".repeat(5_000) }),
  "payload-no-object": text(
    (plain) => [plain, "[]"],
    (plain) => [plain, "1"],
    (plain) => [plain, ""],
  ),
  "payload-member-twice": text(
    (plain, payload) => [plain, `{"sub":"spiffe://example.org/admin",${payload.slice(1)}`],
    (plain, payload) => [plain, `${payload.slice(0, -1)},"sub":"spiffe://example.org/admin"}`],
    (plain, payload) => [plain, `${payload.slice(0, -1)},"\\u0073ub":"spiffe://example.org/admin"}`],
  ),
  "payload-no-json": text(
    (plain, payload) => [plain, `${payload},`],
    (plain, payload) => [plain, payload.replace("{", "{,")],
    (plain, payload) => [plain, payload.replaceAll('"', "'")],
    (plain, payload) => [plain, `${payload.slice(0, -1)},"n":01}`],
  ),
  "payload-no-utf8": text(
    (plain, payload) => [plain, bytes(payload.slice(0, -1), ',"x":"', Uint8Array.of(0xc3), '"}')],
    (plain, payload) => [plain, bytes(Uint8Array.of(0xef, 0xbb, 0xbf), payload)],
    (plain, payload) => [plain, `${payload.slice(0, -1)},"x":"\\ud800"}`],
  ),
  "payload-too-deep": text((plain, payload) => [
    plain,
    `${payload.slice(0, -1)},"x":${"[".repeat(40)}${"]".repeat(40)}}`,
  ]),
  "payload-too-large": claims({ filler: "x".repeat(17_000) }),
  subject: claims(
    { sub: undefined },
    { sub: "" },
    { sub: "web" },
    { sub: 1 },
    ...["", "/", "/a/", "//a", "/../a", "/a%41", "/a?x", "/ä", ":1/a"].map((end) => ({
      sub: `spiffe://example.org${end}`,
    })),
    { sub: "SPIFFE://example.org/web" },
    { sub: "spiffe://Example.org/web" },
  ),
  "subject-of-another-trust-domain": claims({ sub: "spiffe://other.test/web" }),
  "audience-missing": claims({ aud: undefined }, { aud: [] }, { aud: "" }, { aud: [""] }, { aud: null }),
  "audience-of-another": claims(
    ...["spiffe://example.org/order", `${AUDIENCE}/`, AUDIENCE.toUpperCase()].map((aud) => ({ aud })),
    { aud: ["x", "y"] },
  ),
  "audience-no-text": claims({ aud: 1 }, { aud: [AUDIENCE, 1] }, { aud: { 0: AUDIENCE } }, { aud: [[AUDIENCE]] }),
  "audience-too-many": claims({ aud: [AUDIENCE, ...Array.from({ length: 100 }, (_, i) => `a${i}`)] }),
  "expiry-missing": claims({ exp: undefined }),
  expired: claims(
    { exp: NOW_SECONDS - 11 },
    { exp: NOW_SECONDS - 10 },
    { exp: 0 },
    { exp: -1 },
    { exp: NOW_SECONDS - 1e6 },
  ),
  "expiry-no-date": claims(
    { exp: String(NOW_SECONDS + 60) },
    { exp: null },
    { exp: 1e300 },
    { exp: true },
    { exp: [] },
  ),
  "expiry-no-number": text((plain, payload) => [plain, payload.replace(/"exp":\d+/, '"exp":1e999')]),
  "not-yet-valid": claims({ nbf: NOW_SECONDS + 11 }, { nbf: NOW_SECONDS + 1e6 }),
  "not-before-no-date": claims({ nbf: "1" }, { nbf: null }, { nbf: 1e300 }),
  "issued-at-no-date": claims({ iat: "1" }, { iat: null }),
  "issued-in-the-future": claims({ iat: NOW_SECONDS + 1e6 }),
  "issuer-no-text": claims({ iss: 1 }, { jti: 1 }, { iss: ["https://example.org"] }),
  "signature-changed": (draft, random) =>
    void (draft.resign = (made) =>
      made.map((octet, i) => (i === made.length - 1 ? octet ^ (1 << random.below(8)) : octet))),
  "signature-cut": (draft) => void (draft.resign = (made) => made.subarray(0, -1)),
  "signature-longer": (draft) => void (draft.resign = (made) => bytes(made, Uint8Array.of(0))),
  "signature-empty": (draft) => void (draft.resign = () => new Uint8Array(0)),
  "signature-zero": (draft) => void (draft.resign = (made) => new Uint8Array(made.length)),
  "signature-in-der": (draft) =>
    void (draft.resign = (made) => (draft.signing.family === "ecdsa" ? ecdsaP1363ToDer(made) : made.subarray(1))),
  "signature-of-another-key": (draft, random) => {
    const others = KEYS.filter((key) => key.type === draft.key.type && key !== draft.key);
    if (others.length > 0) draft.key = random.pick(others);
    else draft.resign = (made) => new Uint8Array(made.length).fill(1);
  },
  "signature-of-another-scheme": (draft, random) => {
    const name = schemeName(draft.signing);
    draft.signing = random.pick(schemesOf(draft.key.type).filter((other) => schemeName(other) !== name));
  },
  "payload-changed": spelling(
    (plain, payload, signature) => `${plain}.${payload.slice(0, 8)}A${payload.slice(9)}.${signature}`,
  ),
  padding: spelling(
    (plain, payload, signature) => `${plain}=.${payload}.${signature}`,
    (plain, payload, signature) => `${plain}.${payload}.${signature}==`,
    (plain, payload, signature) => `${plain}.${payload}==.${signature}`,
  ),
  "white-space": spelling(
    (...parts) => ` ${parts.join(".")}`,
    (...parts) => `${parts.join(".")}\n`,
    (...parts) => parts.join(" ."),
  ),
  parts: spelling(
    (plain, payload) => `${plain}.${payload}`,
    (...parts) => `${parts.join(".")}.`,
    (...parts) => `${parts.join(".")}.AA.AA`,
    (plain, payload, signature) => `${plain}..${payload}.${signature}`,
    (plain, payload, signature) => JSON.stringify({ protected: plain, payload, signature }),
  ),
  "key-of-another-use": ({ jwks }) => {
    for (const jwk of jwks) jwk.use = "x509-svid";
  },
  "key-of-another-algorithm": (draft) => {
    for (const jwk of draft.jwks) jwk.alg = draft.header.alg === "ES256" ? "ES384" : "ES256";
  },
  "key-with-private-part": ({ jwks }) => {
    for (const jwk of jwks) jwk.d = "AAAA";
  },
  "no-keys": (draft) => void (draft.jwks = []),
  "bundle-of-another-trust-domain": (draft) => void (draft.bundleDomain = "other.test"),
};

/** Flaws with which a token may be right all the same: nobody minds, nothing changed, or the other key is in the bundle. */
export const HARMLESS: ReadonlySet<string> = new Set([
  "issued-in-the-future",
  "payload-changed",
  "signature-of-another-key",
]);

/** Makes one thing wrong; gives its name. */
export function spoilToken(draft: TokenDraft, random: Random): string {
  const name = random.pick(Object.keys(TOKEN_FLAWS));
  TOKEN_FLAWS[name]!(draft, random);
  return name;
}
