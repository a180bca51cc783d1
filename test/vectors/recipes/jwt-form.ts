/** Tokens whose header or form is right or wrong. */
import { base64url, makeKey, signRaw } from "../../../src/jwt/sign.testing.ts";
import { type About, DOMAIN, element, HEADER, type JwtRecipe, jwt, keys, PAYLOAD, raw, TRIALS, token } from "./jwt.ts";

type Reason = NonNullable<About["reason"]>;

/** A token with changed header parameters. */
function header(name: string, requirements: string, reason: Reason | undefined, changes: object, choice?: string) {
  return jwt(name, requirements, { ...(reason && { reason }), choice }, async () => ({
    token: await token({}, changes as Record<string, unknown>),
  }));
}

/** A token that is exactly this text, made of an ordinary one. */
function form(name: string, requirements: string, reason: Reason, change: (token: string, parts: string[]) => string) {
  return jwt(name, requirements, { reason }, async () => {
    const good = await token();
    return { token: change(good, good.split(".")) };
  });
}

const STRICT_HEADER = "header parameters that a JWT-SVID must not have are refused";

const headers: readonly JwtRecipe[] = [
  header("typ JWT", "JWT-06", undefined, { typ: "JWT" }),
  header("typ JOSE", "JWT-06", undefined, { typ: "JOSE" }),
  ...["jwt", "Jwt", "at+jwt", "wit+jwt", "application/jwt", "JOSE+JSON", "", " JWT"].map((typ) =>
    header(`typ ${JSON.stringify(typ)}`, typ === "wit+jwt" ? "JWT-06 WIT-27" : "JWT-06", "jwt.type", { typ }),
  ),
  ...[null, 1, ["JWT"]].map((typ) => header(`typ ${JSON.stringify(typ)}`, "JWT-06", "jwt.type", { typ })),
  jwt("kid absent", "JWT-05", { choice: TRIALS }, async () => ({ token: await token({}, { kid: undefined }) })),
  jwt("kid absent, the second of two keys has signed", "JWT-05", { choice: TRIALS }, async () => ({
    token: await token({}, { kid: undefined }),
    bundles: { [DOMAIN]: { keys: [element(await makeKey("ES256"), "a"), element((await keys()).of("ES256"), "b")] } },
  })),
  jwt("kid of any characters", "JWT-05", {}, async () => {
    const kid = "k\u00e9y /?#\u4e2d\ud83d\ude00";
    const bundles = { [DOMAIN]: { keys: [element((await keys()).of("ES256"), kid)] } };
    return { token: await token({}, { kid }), bundles };
  }),
  jwt(
    "kid absent, signature by a key that is not in the bundle",
    "JWT-05",
    { reason: "jwt.signature", twin: "kid absent" },
    async () => ({
      token: await signRaw(await makeKey("ES256"), "ES256", '{"alg":"ES256"}', PAYLOAD),
    }),
  ),
  header("kid unknown", "JWT-05", "jwt.key-not-found", { kid: "unknown" }),
  header("kid in other case", "JWT-05", "jwt.key-not-found", { kid: "es256" }),
  header("kid __proto__", "JWT-05", "jwt.key-not-found", { kid: "__proto__" }),
  header("kid empty", "JWT-05", "jwt.header", { kid: "" }),
  ...[null, 1, ["ES256"]].map((kid) => header(`kid ${JSON.stringify(kid)}`, "JWT-05", "jwt.header", { kid })),
  jwt("kid of two keys, the second has signed", "JWT-31", {}, async () => ({
    token: await token(),
    bundles: {
      [DOMAIN]: { keys: [element(await makeKey("ES256"), "ES256"), element((await keys()).of("ES256"), "ES256")] },
    },
  })),
  jwt(
    "kid of two keys, neither has signed",
    "JWT-31",
    { reason: "jwt.signature", twin: "kid of two keys, the second has signed" },
    async () => ({
      token: await token(),
      bundles: {
        [DOMAIN]: { keys: [element(await makeKey("ES256"), "ES256"), element(await makeKey("ES256"), "ES256")] },
      },
    }),
  ),
  ...[["exp"], ["b64"], ["unknown"], [], "exp", null].map((crit) =>
    jwt(`crit ${JSON.stringify(crit)}`, "JWT-14 JWT-02", { reason: "jwt.critical" }, async () => ({
      token: await raw(JSON.stringify({ alg: "ES256", kid: "ES256", crit, b64: true, exp: 1, unknown: 1 })),
    })),
  ),
  jwt("b64 false", "JWT-02 JWT-14", { reason: "jwt.header" }, async () => ({
    token: await raw(JSON.stringify({ alg: "ES256", kid: "ES256", b64: false })),
  })),
  jwt("jwk of the attacker in the header", "JWT-02 JWT-20", { reason: "jwt.header" }, async () => {
    const attacker = await makeKey("ES256");
    const head = JSON.stringify({ alg: "ES256", kid: "ES256", jwk: attacker.publicJwk });
    return { token: await signRaw(attacker, "ES256", head, PAYLOAD) };
  }),
  ...(
    [
      ["jwk", { kty: "EC" }],
      ["jku", "https://example.org/keys"],
      ["x5u", "https://example.org/chain"],
      ["x5c", ["AAAA"]],
      ["x5t", "AAAA"],
      ["x5t#S256", "AAAA"],
    ] as const
  ).map(([name, value]) => header(`${name} in the header`, "JWT-02", "jwt.header", { [name]: value })),
  header("cty in the header", "JWT-02", "jwt.header", { cty: "JWT" }, STRICT_HEADER),
  header("unknown parameter in the header", "JWT-02", "jwt.header", { unknown: 1 }, STRICT_HEADER),
];

const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const utf8 = (text: string) => Uint8Array.from(Buffer.from(text));
const BOM = Uint8Array.of(0xef, 0xbb, 0xbf);
const LONG = "tokens of more than 16 KiB are refused";

/** A token of exactly this header or payload. */
function malformed(name: string, head: string | Uint8Array, payload: string | Uint8Array, requirements = "JWT-14") {
  return jwt(name, requirements, { reason: "jwt.malformed" }, async () => ({ token: await raw(head, payload) }));
}

const deep = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
const claimed = (member: string) => PAYLOAD.replace("{", `{${member},`);

/** A token of exactly this header and payload that is accepted. */
function wellFormed(name: string, head: string, payload: string): JwtRecipe {
  return jwt(name, "JWT-14", {}, async () => ({ token: await raw(head, payload) }));
}

const forms: readonly JwtRecipe[] = [
  wellFormed("header with space around everything", ' {\t"alg" : "ES256",\r\n"kid" : "ES256" } ', PAYLOAD),
  wellFormed("header in another order, with an escaped name", '{"kid":"ES256","\\u0061lg":"ES256"}', PAYLOAD),
  wellFormed("payload with space around everything", HEADER, ` \n${PAYLOAD.replaceAll(",", " ,\t")} `),
  wellFormed("payload with letters beyond ASCII", HEADER, claimed('"a":"\u00e9\u4e2d\ud83d\ude00"')),
  wellFormed("payload with an escaped sub", HEADER, PAYLOAD.replace("spiffe:", "\\u0073piffe:")),
  wellFormed("payload with __proto__", HEADER, claimed('"__proto__":{"admin":true}')),
  wellFormed("token of nearly 16 KiB", HEADER, claimed(`"a":"${"a".repeat(11_900)}"`)),
  ...["[]", "null", '"x"', "1", "{", "", "{}x", "{'alg':'ES256'}"].map((text) =>
    malformed(`header ${text === "" ? "empty" : text}`, text, PAYLOAD),
  ),
  ...["[]", "null", '"x"', "1", "{", "", `${PAYLOAD}x`, "{'sub':1}"].map((text) =>
    malformed(
      `payload ${text === "" ? "empty" : text.startsWith(PAYLOAD) ? "with text after it" : text}`,
      HEADER,
      text,
    ),
  ),
  malformed("header with alg twice", '{"alg":"none","alg":"ES256","kid":"ES256"}', PAYLOAD),
  malformed("header with alg twice, once escaped", '{"\\u0061lg":"none","alg":"ES256","kid":"ES256"}', PAYLOAD),
  malformed("payload with sub twice", HEADER, claimed('"sub":"spiffe://example.org/admin"')),
  malformed("payload with a member twice, deep inside", HEADER, claimed('"a":[{"b":1,"b":2}]')),
  malformed("header with a byte order mark", join(BOM, utf8(HEADER)), PAYLOAD),
  malformed("payload with a byte order mark", HEADER, join(BOM, utf8(PAYLOAD))),
  malformed("header in no UTF-8", join(utf8('{"alg":"ES256","kid":"'), Uint8Array.of(0xff), utf8('"}')), PAYLOAD),
  malformed(
    "payload in no UTF-8",
    HEADER,
    join(utf8('{"a":"'), Uint8Array.of(0xc0, 0xaf), utf8(`",${PAYLOAD.slice(1)}`)),
  ),
  malformed("payload with a lone surrogate", HEADER, claimed('"a":"\\ud800"')),
  malformed("payload with a low surrogate alone", HEADER, claimed('"a":"\\udc00"')),
  malformed("payload with a high surrogate before a letter", HEADER, claimed('"a":"\\ud800\\u0041"')),
  malformed("payload with an escape that JSON has not", HEADER, claimed('"a":"\\x41"')),
  malformed("payload with an escape that is too short", HEADER, claimed('"a":"\\u41"')),
  malformed("payload with a name without quotes", HEADER, claimed("a:1")),
  ...["tru", "nul", "01", "+1", ".5", "1.", "1e", "-", "0x1", "1_000", "NaN", "undefined"].map((value) =>
    malformed(`payload with the value ${value}`, HEADER, claimed(`"a":${value}`)),
  ),
  malformed("payload with a line feed in a text", HEADER, claimed('"a":"\n"')),
  jwt("payload nested 31 deep", "JWT-14", {}, async () => ({ token: await raw(HEADER, claimed(`"a":${deep(31)}`)) })),
  jwt(
    "payload nested 1000 deep",
    "JWT-14",
    { reason: "jwt.malformed", twin: "payload nested 31 deep", choice: "JSON is read 32 deep" },
    async () => ({ token: await raw(HEADER, claimed(`"a":${deep(1000)}`)) }),
  ),
  jwt("token of 1 MiB", "JWT-14", { reason: "jwt.too-large", choice: LONG }, async () => {
    const [head, body, last] = (await token()).split(".");
    return { token: [`${head}.${body}`, { repeat: "A", times: 1_048_576 }, `.${last}`] };
  }),
  jwt("token of a million dots", "JWT-14", { reason: "jwt.too-large", choice: LONG }, async () => ({
    token: [{ repeat: ".", times: 1_000_000 }],
  })),
  form("empty token", "JWT-14", "jwt.malformed", () => ""),
  form("one part", "JWT-14", "jwt.malformed", (_, [head]) => head!),
  form("two parts", "JWT-14", "jwt.malformed", (_, [head, body]) => `${head}.${body}`),
  form("four parts", "JWT-14", "jwt.malformed", (good) => `${good}.AAAA`),
  form("four parts, the last empty", "JWT-14", "jwt.malformed", (good) => `${good}.`),
  form("five parts", "JWT-14", "jwt.malformed", (good) => `${good}.AAAA.AAAA`),
  form("only dots", "JWT-14", "jwt.malformed", () => ".."),
  form("padding after the header", "JWT-14", "jwt.malformed", (_, [head, body, last]) => `${head}=.${body}.${last}`),
  form("padding after the payload", "JWT-14", "jwt.malformed", (_, [head, body, last]) => `${head}.${body}==.${last}`),
  form("padding after the signature", "JWT-14", "jwt.malformed", (good) => `${good}==`),
  form("space before", "JWT-14", "jwt.malformed", (good) => ` ${good}`),
  form("line feed after", "JWT-14", "jwt.malformed", (good) => `${good}\n`),
  form("line feed inside", "JWT-14", "jwt.malformed", (good) => `${good.slice(0, 20)}\n${good.slice(20)}`),
  form("Bearer before", "JWT-14", "jwt.malformed", (good) => `Bearer ${good}`),
  jwt("standard base64 with + and /", "JWT-14", { reason: "jwt.malformed" }, async () => {
    // these characters encode to + and /, which base64url writes as - and _
    const [, , last] = (await raw(HEADER, claimed('"a":"~~~???>>>"'))).split(".");
    const body = Buffer.from(claimed('"a":"~~~???>>>"')).toString("base64").replaceAll("=", "");
    if (!/[+/]/.test(body)) throw new Error("Expected + or / in the payload");
    return { token: `${base64url(HEADER)}.${body}.${last}` };
  }),
  form("bits of the last character that are no part of a byte", "JWT-14", "jwt.malformed", (good) => {
    // a signature of 64 bytes leaves four bits over
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return good.slice(0, -1) + alphabet[alphabet.indexOf(good.at(-1)!) | 1];
  }),
  form("JSON serialization, flattened", "JWT-01", "jwt.malformed", (_, [head, body, last]) =>
    JSON.stringify({ protected: head, payload: body, signature: last }),
  ),
  form("JSON serialization, general", "JWT-01", "jwt.malformed", (_, [head, body, last]) =>
    JSON.stringify({ payload: body, signatures: [{ protected: head, signature: last }] }),
  ),
];

export const FORMS: readonly JwtRecipe[] = [...headers, ...forms];
