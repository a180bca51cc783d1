/** The controls of tokens that are remembered, and of the plaintext server they come to. */
import type { Control } from "./control-row.ts";

const remembered = "src/jwt/verified-tokens.ts";
const WHOLE = "sha256Text(token)";
const SCOPE = "const key = digest + rules.scope;";
const NO_SCOPE = "const key = digest;";
const TIME_AND_AUDIENCE = "if (judge(entry.keyId, entry, settings) !== undefined) return false;";

const plain = "src/gateway/serve-plain.ts";
const fetched = "src/gateway/fetch-request.ts";

function control(name: string, ...patches: readonly (readonly [find: string, replace: string])[]): Control {
  const tests = ["src/jwt/verified-tokens.test.ts"];
  return { name, patches: patches.map(([find, replace]) => ({ file: remembered, find, replace })), tests };
}

function plainControl(
  name: string,
  file: string,
  find: string,
  replace: string,
  runtimes?: Control["runtimes"],
): Control {
  const tests = ["src/gateway/serve-plain.test.ts"];
  return { name, patches: [{ file, find, replace }], tests, ...(runtimes !== undefined && { runtimes }) };
}

/** Runtimes whose own server hands out a `Request`. */
const OWN: Control["runtimes"] = ["bun", "deno"];

export const JWT_CONTROLS: readonly Control[] = [
  control("jwt-remembered-whole", [WHOLE, 'sha256Text(token.slice(0, token.lastIndexOf(".")))']),
  control("jwt-remembered-options", [SCOPE, NO_SCOPE]),
  control("jwt-remembered-time", [TIME_AND_AUDIENCE, ""]),
  control(
    "jwt-remembered-audience",
    [SCOPE, NO_SCOPE],
    [TIME_AND_AUDIENCE, TIME_AND_AUDIENCE.replace("entry,", "{ ...entry, audience: [...settings.audience.keys()] },")],
  ),
  control("jwt-remembered-bundle", ["if (!bundle.ok) return false;", "if (!bundle.ok) return true;"]),
  control("jwt-remembered-current", [
    "if (marks.get(bundle.value) === entry.mark) return true;",
    "if (true) return true;",
  ]),
  control("jwt-remembered-key", [
    ".some(({ key }) => equalOctets(key.spki, spki))",
    ".some(({ key }) => key !== spki)",
  ]),
  control("jwt-remembered-flight", [
    "if (holds(verdict.value, bundles, rules.settings)) return accept",
    "if (true) return accept",
  ]),
  control("jwt-remembered-source", ["if (under?.bundles === bundles) return", "if (under !== undefined) return"]),
  control("jwt-remembered-date", [
    "expiresAt: new Date(expiresAt)",
    "expiresAt: (((globalThis as { d?: Date[] }).d ??= [])[expiresAt] ??= new Date(expiresAt))",
  ]),
  control("jwt-remembered-refusals", [
    "    if (!verdict.ok) return verdict;\n    this.#remember(key, verdict.value);",
    "    this.#remember(key, { bytes: 1, ...(verdict as { value?: Entry }).value } as Entry);\n    if (!verdict.ok) return verdict;",
  ]),
  control("jwt-remembered-verifier", [":${numberOf(verifier)}:", ":"]),
  {
    name: "jwt-shared-id",
    patches: [{ file: "src/jwt/shared.ts", find: "  Object.freeze(own);\n", replace: "" }],
    tests: ["src/jwt/verified-tokens.test.ts"],
  },
  plainControl("plain-loopback", plain, "if (!isLoopbackAddress(address)) {", "if (false) {"),
  plainControl(
    "plain-target",
    fetched,
    "if (!target.ok) return target;",
    "if (!target.ok) return accept(request);",
    OWN,
  ),
  plainControl("plain-host", fetched, "if (badHost !== undefined) return badHost;", "", OWN),
  plainControl(
    "plain-framing",
    fetched,
    'if (framingFault(listOf(fields["content-length"]), listOf(fields["transfer-encoding"])))',
    "if (false)",
    OWN,
  ),
  plainControl(
    "plain-absolute-target",
    fetched,
    "canonicalAuthority(authority)?.host === named",
    "authority !== named + named",
    ["deno"],
  ),
  plainControl("plain-joined-fields", fetched, 'if (authorization?.includes(",") &&', "if (false &&", OWN),
  plainControl("plain-identity-fields", fetched, "if (isIdentityField(name))", "if (false)", OWN),
];
