/** Controls of what callers say: names that a function does not know. */
import { type Control, controlsIn } from "./control-row.ts";

const control = controlsIn(".");
const check = "src/base/check-options.ts";
const own = "src/base/check-options.test.ts";
const all = "test/options.test.ts";

export const OPTION_CONTROLS: readonly Control[] = [
  control("options-known", check, "if (Object.hasOwn(known, key) ||", "if (true ||", own, all),
  control(
    "options-inherited",
    check,
    "for (const key in options) {",
    "for (const key of Object.keys(options)) {",
    own,
    all,
  ),
  control("options-own-names", check, "if (Object.hasOwn(known, key) ||", "if (key in known ||", own),
  control(
    "options-of-every-object",
    check,
    "(key in Object.prototype && !Object.hasOwn(options, key))",
    "key in Object.prototype",
    own,
  ),
  control("options-array", check, " || Array.isArray(options)) throw noOptions", ") throw noOptions", own, all),
  control("options-empty-kinds", check, "if (!plain)", "if (false)", own, all),
  control("options-kind-alone", check, '? "none" : kindOf(got)}', '? "none" : String(got)}', own, all),
  control(
    "options-plain",
    check,
    "for (const name of Object.keys(known) as (keyof T)[]) if (name in options) given[name]",
    "for (const name of Object.keys(known) as (keyof T)[]) if (Object.hasOwn(options, name)) given[name]",
    own,
    all,
  ),
  control("options-hint", "src/workload/workload.ts", 'onlyKnown("Workload.open", options, KNOWN);', "", all),
  control(
    "options-hint-source",
    "src/workload/x509-source.ts",
    'onlyKnown("X509Source.open", options, OPEN);',
    "",
    all,
  ),
  control("options-svid", "src/tls/own-identity.ts", 'onlyKnown("svid", choice, KNOWN);', "", all),
  control("options-audience", "src/jwt/validate.ts", 'onlyKnown("validateJwtSvid", options, KNOWN);', "", all),
  control("options-audience-sync", "src/jwt/validate.ts", 'onlyKnown("validateJwtSvidSync", options, KNOWN);', "", all),
  control(
    "options-audience-judge",
    "src/jwt/verified-tokens.ts",
    'onlyKnown("VerifiedTokens.judge", options, KNOWN);',
    "",
    all,
  ),
  control(
    "options-door",
    "src/gateway/middleware/spiffe.ts",
    'onlyKnown("spiffe({ jwt })", options.jwt, DOOR);',
    "",
    all,
  ),
  control(
    "options-principals",
    "src/gateway/middleware/authorize.ts",
    'onlyKnown("authorize()", who, KNOWN);',
    "",
    all,
  ),
  control("options-leniency", "src/x509/verify.ts", 'onlyKnown("verifyX509Svid", options, KNOWN);', "", all),
  control("options-leniency-sync", "src/x509/verify.ts", 'onlyKnown("verifyX509SvidSync", options, KNOWN);', "", all),
  control("options-authorize", "src/tls/listen-options.ts", 'onlyKnown("listen", options, KNOWN);', "", all),
  control("options-authorize-serve", "src/gateway/serve.ts", 'onlyKnown("serve", options, KNOWN);', "", all),
  control("options-peer", "src/tls/authorizers.ts", 'onlyKnown("peer", peer, { trustDomain: true });', "", all),
  control("options-dial", "src/tls/connect.ts", 'onlyKnown("connect", options, KNOWN);', "", all),
  control(
    "options-id-prefixes",
    "src/policy/parse.ts",
    'for (const source of sources) onlyKnown("a policy source", source, SOURCE);',
    "",
    all,
  ),
];
