/** The controls of tokens that are remembered, and of the field they come in. */
import type { Control } from "./controls.ts";

const remembered = "src/jwt/verified-tokens.ts";
const WHOLE = "sha256Text(scope + token)";
const NO_SCOPE = "sha256Text(token)";
const TIME_AND_AUDIENCE = "if (judge(entry.keyId, entry.claims, settings) !== undefined) return false;";

function control(name: string, ...patches: readonly (readonly [find: string, replace: string])[]): Control {
  const tests = ["src/jwt/verified-tokens.test.ts"];
  return { name, patches: patches.map(([find, replace]) => ({ file: remembered, find, replace })), tests };
}

export const JWT_CONTROLS: readonly Control[] = [
  control("jwt-remembered-whole", [WHOLE, 'sha256Text(scope + token.slice(0, token.lastIndexOf(".")))']),
  control("jwt-remembered-options", [WHOLE, NO_SCOPE]),
  control("jwt-remembered-time", [TIME_AND_AUDIENCE, ""]),
  control(
    "jwt-remembered-audience",
    [WHOLE, NO_SCOPE],
    [
      TIME_AND_AUDIENCE,
      TIME_AND_AUDIENCE.replace("entry.claims", "{ ...entry.claims, audience: [...settings.audience] }"),
    ],
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
    "if (holds(verdict.value, bundles, settings())) return accept",
    "if (true) return accept",
  ]),
  control("jwt-remembered-source", ["if (under?.bundles === bundles) {", "if (under !== undefined) {"]),
  control("jwt-remembered-date", [
    "expiresAt: new Date(expiresAt)",
    "expiresAt: ((claims as never as { d: Date }).d ??= new Date(expiresAt))",
  ]),
  control("jwt-remembered-refusals", [
    "if (!verdict.ok) return verdict;\n      this.#remember(key, verdict.value);",
    "this.#remember(key, { bytes: 1, ...(verdict as { value?: Entry }).value } as Entry);\n      if (!verdict.ok) return verdict;",
  ]),
];
