/** Public functions of the portable core that take options, and the trial of one: runs in workerd too. */
import {
  JwtBundle,
  JwtSvid,
  SpiffeBundle,
  safeValidateJwtSvid,
  safeValidateJwtSvidSync,
  safeVerifyX509Svid,
  safeVerifyX509SvidSync,
  VerifiedTokens,
  validateJwtSvid,
  validateJwtSvidSync,
  verifyX509Svid,
  verifyX509SvidSync,
  X509Svid,
} from "spiffe-edge";
import { createAuthorizer, Policy, parsePolicy } from "spiffe-edge/policy";

/** A place where options are taken. */
export interface OptionEntry {
  /** As the sentence calls it. */
  readonly name: string;
  /** The public function, where it has another name. */
  readonly of?: string;
  /** Whose options it is a part of, or what gave the thing whose method it is. */
  readonly partOf?: string;
  /** Options that it knows. */
  readonly right: object;
  /** A name that it does not know. */
  readonly wrong: string;
  /** Calls it; what it opens is closed again by the trial. */
  // biome-ignore lint/suspicious/noExplicitAny: what a program without types might give
  readonly call: (options: any) => unknown;
  /** That something else than an object is right here too. */
  readonly otherForms?: true;
}

const TOKEN = "e30.e30.AA";
const BUNDLE: JwtBundle = JwtBundle.fromJwks("example.org", '{"keys":[]}', "workload-api");
const NOBODY = { x509BundleFor: () => undefined };
const LENIENT = { lenientPeerKeyUsage: true, clock: undefined };
const AUDIENCE = { audience: "spiffe://example.org/orders", requireKeyId: true };
const NO_OCTETS: Uint8Array = new Uint8Array();

export const PORTABLE_ENTRIES: readonly OptionEntry[] = [
  ...[verifyX509Svid, safeVerifyX509Svid, verifyX509SvidSync, safeVerifyX509SvidSync].map((verify) => ({
    name: verify.name,
    right: LENIENT,
    wrong: "lenientKeyUsage",
    call: (options: object) => verify([], NOBODY, options),
  })),
  ...[validateJwtSvid, safeValidateJwtSvid, validateJwtSvidSync, safeValidateJwtSvidSync].map((validate) => ({
    name: validate.name,
    right: AUDIENCE,
    wrong: "requireKeyID",
    call: (options: typeof AUDIENCE & { requireKeyId: true }) => validate(TOKEN, BUNDLE, options),
  })),
  { name: "VerifiedTokens", right: { maxEntries: 0 }, wrong: "maxEntry", call: (limits) => new VerifiedTokens(limits) },
  {
    name: "VerifiedTokens.judge",
    right: AUDIENCE,
    wrong: "audiences",
    call: (options) => new VerifiedTokens().judge(options),
  },
  ...(["parse", "safeParse"] as const).map((name) => ({
    name: `X509Svid.${name}`,
    right: { hint: "web" },
    wrong: "hints",
    call: (options: object) => X509Svid[name](NO_OCTETS, NO_OCTETS, options),
  })),
  ...(["fromPem", "safeFromPem", "load"] as const).map((name) => ({
    name: `X509Svid.${name}`,
    right: { hint: "web" },
    wrong: "hints",
    call: (options: object) => X509Svid[name]("/nowhere", "/nowhere", options),
  })),
  ...(["parseUnverified", "safeParseUnverified"] as const).map((name) => ({
    name: `JwtSvid.${name}`,
    right: { hint: "web" },
    wrong: "hints",
    call: (options: object) => JwtSvid[name](TOKEN, options),
  })),
  {
    name: "SpiffeBundle.of",
    right: { jwt: BUNDLE, refreshHintMs: 300_000 },
    wrong: "refreshHint",
    call: (parts) => SpiffeBundle.of("example.org", parts),
  },
  { name: "Policy.compile", right: { clock: undefined }, wrong: "now", call: (options) => Policy.compile([], options) },
  { name: "parsePolicy", right: { env: {} }, wrong: "environment", call: (options) => parsePolicy("[]", options) },
  {
    name: "a policy source",
    partOf: "parsePolicy",
    right: { file: "shop.yaml", text: "rules: []", idPrefixes: ["spiffe://example.org/shop"] },
    wrong: "idPrefix",
    call: (source) => parsePolicy([source]),
  },
  {
    name: "createAuthorizer",
    right: { fetch: async () => Response.json({ allow: false }) },
    wrong: "send",
    call: (options) => createAuthorizer({ url: "http://127.0.0.1:9191/" }, options),
  },
];

/** Calls with these options and says what became of it: nothing where they were taken, else the error's code and sentence. */
async function outcome({ call }: OptionEntry, options: unknown): Promise<string | undefined> {
  let made: unknown;
  try {
    made = await call(options);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code}: ${message}`;
  }
  const { close, destroy } = (made ?? {}) as { close?: () => unknown; destroy?: () => unknown };
  await close?.call(made);
  destroy?.call(made);
  return undefined;
}

/** Tries what may and what may not be given; returns what went otherwise than it should, nothing at best. */
export async function triedOptions(entry: OptionEntry): Promise<string[]> {
  const { name, right, wrong, otherForms } = entry;
  const faults: string[] = [];
  const taken = async (what: string, options: unknown) => {
    const got = await outcome(entry, options);
    if (/^ERR_SPIFFE_USAGE: Expected (?:options of|an object of options)/.test(got ?? "")) {
      faults.push(`${what}: not taken: ${got}`);
    }
  };
  const refused = async (what: string, options: unknown, begin: string, end: string) => {
    const got = (await outcome(entry, options)) ?? "taken";
    if (!got.startsWith(`ERR_SPIFFE_USAGE: Expected ${begin} ${name}`) || !got.endsWith(end)) {
      faults.push(`${what}: ${got}`);
    }
  };
  const misspelt = (what: string, options: object) => refused(what, options, "options of", `; got ${wrong}`);

  await taken("its own names", right);
  await taken("its own names without prototype", Object.assign(Object.create(null), right));
  await taken("its own names by inheritance", Object.create(right));
  await taken("a symbol beside them", { ...right, [Symbol("note")]: true });
  await misspelt("another name", { ...right, [wrong]: "web" });
  await misspelt("another name without value", { ...right, [wrong]: undefined });
  await misspelt("another name without prototype", Object.assign(Object.create(null), right, { [wrong]: true }));
  await misspelt("another name by inheritance", Object.assign(Object.create({ [wrong]: true }), right));
  if (otherForms) return faults;
  for (const [got, value] of [
    ["null", null],
    ["an Array", []],
    ["a string", "spiffe://example.org/web"],
    ["a function", () => right],
    ["a number", 5],
    ["a boolean", true],
    ["a Promise", Promise.resolve(right)],
    ["a Map", new Map(Object.entries(right))],
  ] as const) {
    await refused(got, value, "an object of options for", `; got ${got}`);
  }
  return faults;
}
