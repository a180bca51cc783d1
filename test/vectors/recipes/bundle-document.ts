/** Bundle documents as a whole: form, sequence, refresh hint; and bundle maps. */
import type { LongText } from "../spiffe-cases.ts";
import {
  type BundleRecipe,
  bundle,
  contents,
  type Json,
  jwtElement,
  parts,
  refused,
  taken,
  x509Element,
} from "./bundle.ts";

const NUMBERS = "a whole number may be written with a fraction of zero or an exponent, as JSON allows";
const SIZES = "at most 4 MiB and 10,000 keys are read";
const KEYS = 10_000;
const BYTES = 4_194_304;

const utf8 = (text: string) => [...Buffer.from(text)];
const nested = (depth: number) => `{"keys":[],"x":${"[".repeat(depth)}${"]".repeat(depth)}}`;

const documents: readonly BundleRecipe[] = [
  taken("document: no keys", "BND-09 BND-11", '{"keys":[]}'),
  bundle("document: X.509 authorities and a JWT key", "BND-01 X509-50 X509-56 JWT-32", {}, async () => {
    const { root, next, key } = await parts();
    const keys = [x509Element(root), jwtElement(key), x509Element(next)];
    const document = JSON.stringify({ keys, spiffe_sequence: 3, spiffe_refresh_hint: 60 });
    const left = { x509: [root, next], jwt: ["key"], sequence: "3", refreshHintSeconds: 60 };
    return { document, expected: await contents(left) };
  }),
  taken("document: unknown members", "BND-02", '{"keys":[],"x":{"y":[1,null]},"spiffe_other":true}'),
  taken("document: __proto__ as a member", "BND-02", '{"keys":[],"__proto__":{"spiffe_sequence":7}}'),
  taken("document: space around everything", "BND-01", ' \t\r\n{ "keys" : [ ] }\n'),
  taken("document: letters beyond ASCII in an unknown member", "BND-02", '{"keys":[],"x":"\u00e9\u4e2d"}'),
  refused("document: empty object", "BND-09", "{}"),
  ...["null", "{}", '"x"', "1", "true", '{"0":1,"length":1}'].map((keys) =>
    refused(`document: keys is ${keys}`, "BND-09", `{"keys":${keys}}`),
  ),
  refused("document: keys inside __proto__", "BND-09", '{"__proto__":{"keys":[]}}'),
  refused("document: keys in upper case", "BND-09", '{"KEYS":[]}'),
  ...["[]", "null", '"x"', "1", '[{"keys":[]}]'].map((text) => refused(`document: ${text}`, "BND-01", text)),
  refused("document: empty text", "BND-01", ""),
  refused("document: truncated", "BND-01", '{"keys":[]'),
  refused("document: text after it", "BND-01", '{"keys":[]} x'),
  refused("document: twice", "BND-01", '{"keys":[]}{"keys":[]}'),
  refused("document: comma at the end", "BND-01", '{"keys":[],}'),
  refused("document: comment", "BND-01", '{"keys":[] /* none */}'),
  refused("document: single quotes", "BND-01", "{'keys':[]}"),
  refused("document: byte order mark", "BND-01", Uint8Array.of(0xef, 0xbb, 0xbf, ...utf8('{"keys":[]}'))),
  refused("document: UTF-16", "BND-01", Uint8Array.from(Buffer.from('{"keys":[]}', "utf16le"))),
  refused("document: no UTF-8", "BND-01", Uint8Array.of(...utf8('{"keys":[],"x":"'), 0xff, ...utf8('"}'))),
  ...(
    [
      ["keys twice", '{"keys":[],"keys":[]}'],
      ["keys twice, once escaped", '{"keys":[],"\\u006beys":[]}'],
      ["sequence twice", '{"keys":[],"spiffe_sequence":1,"spiffe_sequence":2}'],
      ["a member of an element twice", '{"keys":[{"use":"x509-svid","use":"jwt-svid"}]}'],
      ["a member of an unknown member twice", '{"keys":[],"x":[{"a":{"b":1,"b":2}}]}'],
      ["__proto__ twice", '{"keys":[],"__proto__":1,"__proto__":2}'],
    ] as const
  ).map(([name, text]) =>
    refused(`document: ${name}`, "BND-01 MAP-03", text, { choice: "a member that stands twice refuses the document" }),
  ),
  taken("document: nested 32 deep", "BND-01", nested(31)),
  refused("document: nested 1000 deep", "BND-01", nested(999), {
    twin: "document: nested 32 deep",
    choice: "JSON is read 32 deep",
  }),
  taken("document: 4 MiB", "BND-01", ['{"keys":[]', { repeat: " ", times: BYTES - 11 }, "}"]),
  refused("document: 10 MB", "BND-01", ['{"keys":[]', { repeat: " ", times: 10_000_000 }, "}"], {
    reason: "bundle.too-large",
    twin: "document: 4 MiB",
    choice: SIZES,
  }),
  taken("document: 10,000 elements of no use", "BND-10", ['{"keys":[', { repeat: "{},", times: KEYS - 1 }, "{}]}"]),
  refused("document: 10,001 elements of no use", "BND-10", ['{"keys":[', { repeat: "{},", times: KEYS }, "{}]}"], {
    reason: "bundle.too-large",
    twin: "document: 10,000 elements of no use",
    choice: SIZES,
  }),
  taken("document: 200,000 values in an unknown member", "BND-02", [
    '{"keys":[],"x":[',
    { repeat: "0,", times: 200_000 },
    "0]}",
  ]),
  refused(
    "document: 300,000 values in an unknown member",
    "BND-02",
    ['{"keys":[],"x":[', { repeat: "0,", times: 300_000 }, "0]}"],
    {
      reason: "bundle.too-large",
      twin: "document: 200,000 values in an unknown member",
      choice: "at most 262,144 JSON values are read",
    },
  ),
];

const withMember = (name: string, literal: string) => `{"keys":[],"${name}":${literal}}`;

const sequences: readonly BundleRecipe[] = [
  ...(
    [
      ["0", "0"],
      ["1", "1"],
      ["9007199254740991", "9007199254740991"],
      ["9007199254740993", "9007199254740993"],
      ["9223372036854775807", "9223372036854775807"],
      ["18446744073709551615", "18446744073709551615"],
      ["1.0", "1"],
      ["1e3", "1000"],
    ] as const
  ).map(([literal, sequence]) =>
    taken(
      `sequence: ${literal}`,
      "BND-03 BND-04 BND-05",
      withMember("spiffe_sequence", literal),
      { sequence },
      /[.e]/.test(literal) ? { choice: NUMBERS } : {},
    ),
  ),
  ...["-1", '"1"', "1.5", "null", "true", "[1]", "{}", "1e999", "01", "0x1", "NaN"].map((literal) =>
    refused(`sequence: ${literal}`, "BND-04", withMember("spiffe_sequence", literal), { twin: "sequence: 1" }),
  ),
  refused("sequence: 18446744073709551616", "BND-05", withMember("spiffe_sequence", "18446744073709551616"), {
    twin: "sequence: 18446744073709551615",
    choice: "the sequence has 64 bits",
  }),
];

const hints: readonly BundleRecipe[] = [
  ...[0, 1, 300, 2_147_483_648].map((refreshHintSeconds) =>
    taken(
      `refresh hint: ${refreshHintSeconds}`,
      "BND-06 BND-07 BND-08",
      withMember("spiffe_refresh_hint", `${refreshHintSeconds}`),
      { refreshHintSeconds },
    ),
  ),
  ...["-1", "1.5", '"300"', "null", "[]", "1e999"].map((literal) =>
    refused(`refresh hint: ${literal}`, "BND-07", withMember("spiffe_refresh_hint", literal), {
      twin: "refresh hint: 300",
    }),
  ),
];

const MAP = { format: "bundle-map" } as const;
const TWO = "map: two trust domains";

/** A map of this text, and the sequence of each bundle in it, none of which has keys. */
function map(name: string, requirements: string, document: string, sequences: Readonly<Record<string, string | null>>) {
  return bundle(`map: ${name}`, requirements, MAP, async () => {
    const trustDomains: Record<string, unknown> = Object.create(null);
    for (const [domain, sequence] of Object.entries(sequences)) {
      trustDomains[domain] = await contents(sequence === null ? {} : { sequence });
    }
    return { document, expected: { trustDomains: trustDomains as never } };
  });
}

function noMap(name: string, requirements: string, document: string, reason = "bundle.malformed") {
  return refused(`map: ${name}`, requirements, document, { ...MAP, reason, twin: TWO });
}

const EMPTY = '{"keys":[]}';
const mapOf = (entries: string) => `{"trust_domains":{${entries}}}`;

/** A map of two bundles, each of this many elements that nothing can use. */
function largeMap(elements: number): LongText {
  const bundleOf = ['{"keys":[', { repeat: "{},", times: elements - 1 }, "{}]}"];
  return ['{"trust_domains":{"example.org":', ...bundleOf, ',"other.example":', ...bundleOf, "}}"];
}

const maps: readonly BundleRecipe[] = [
  map("empty", "MAP-01", mapOf(""), {}),
  bundle(TWO, "MAP-01 MAP-02 BND-16", MAP, async () => {
    const { root, next, key } = await parts();
    const own: Json = { keys: [x509Element(root), jwtElement(key)], spiffe_sequence: 1 };
    const other: Json = { keys: [x509Element(next)], spiffe_sequence: 2 };
    return {
      document: JSON.stringify({ trust_domains: { "example.org": own, "other.example": other } }),
      expected: {
        trustDomains: {
          "example.org": await contents({ x509: [root], jwt: ["key"], sequence: "1" }),
          "other.example": await contents({ x509: [next], sequence: "2" }),
        },
      },
    };
  }),
  map("unknown members", "MAP-01 BND-02", `{"x":1,"trust_domains":{"example.org":${EMPTY}}}`, { "example.org": null }),
  map(
    "refresh hint inside a bundle",
    "MAP-04 MAP-05",
    mapOf('"example.org":{"keys":[],"spiffe_sequence":7,"spiffe_refresh_hint":1}'),
    { "example.org": "7" },
  ),
  map("trust domain named __proto__", "MAP-03", mapOf('"__proto__":{"keys":[],"spiffe_sequence":7}'), {
    ["__proto__"]: "7",
  }),
  noMap("without trust_domains", "MAP-01", "{}"),
  noMap("trust_domains is a list", "MAP-01", '{"trust_domains":[]}'),
  noMap("trust_domains is null", "MAP-01", '{"trust_domains":null}'),
  noMap("a bundle in its place", "MAP-01", EMPTY),
  noMap("a trust domain twice", "MAP-02 MAP-03", mapOf(`"example.org":${EMPTY},"example.org":${EMPTY}`)),
  noMap(
    "a trust domain twice, once escaped",
    "MAP-02 MAP-03",
    mapOf(`"example.org":${EMPTY},"\\u0065xample.org":${EMPTY}`),
  ),
  noMap("__proto__ twice", "MAP-03", mapOf(`"__proto__":${EMPTY},"__proto__":${EMPTY}`)),
  noMap("SPIFFE ID as a name", "MAP-01", mapOf(`"spiffe://example.org":${EMPTY}`), "bundle.trust-domain"),
  noMap("name in upper case", "MAP-01 ID-07", mapOf(`"Example.org":${EMPTY}`), "bundle.trust-domain"),
  noMap("empty name", "MAP-01 ID-02", mapOf(`"":${EMPTY}`), "bundle.trust-domain"),
  noMap("name with a slash", "MAP-01 ID-08", mapOf(`"example.org/":${EMPTY}`), "bundle.trust-domain"),
  refused("map: 12,000 elements in two bundles", "MAP-01", largeMap(6_000), {
    ...MAP,
    reason: "bundle.too-large",
    twin: TWO,
    choice: SIZES,
  }),
  noMap("a bundle without keys", "MAP-06 BND-09", mapOf(`"example.org":${EMPTY},"other.example":{}`)),
  noMap("a bundle that is null", "MAP-06 BND-09", mapOf('"example.org":null')),
];

export const DOCUMENTS: readonly BundleRecipe[] = [...documents, ...sequences, ...hints, ...maps];
