/** The controls whose absence some test must notice, on each runtime. */

export interface Control {
  name: string;
  /** What is taken out, one place after another: `find` is exact source text that occurs once in the file. */
  patches: readonly { file: string; find: string; replace: string }[];
  /** Test files, at least one of which must notice. */
  tests: readonly string[];
}

/** Replaces a text that has to be there exactly once. */
export function replaceOnce(text: string, file: string, find: string, replace: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} holds ${JSON.stringify(find)} ${parts.length - 1} times, not once`);
  return parts.join(replace);
}

const ENTRIES_OPEN: Control["patches"][number] = {
  file: "src/tls/entries.ts",
  find: "    if (verdict?.accepted === true) return verdict;\n    rooms.stray();",
  replace: "    if (true) return verdict ?? { accepted: true };\n    rooms.stray();",
};

export const CONTROLS: readonly Control[] = [
  {
    name: "x509-chain-signature",
    patches: [{ file: "src/x509/path/search.ts", find: "      if (!valid) {", replace: "      if (false) {" }],
    tests: ["src/x509/verify.test.ts"],
  },
  {
    name: "x509-bundle-choice",
    patches: [
      {
        file: "src/x509/verify.ts",
        find: "if (bundle === undefined || !bundle.trustDomain.equals(trustDomain)) {",
        replace: "if (bundle === undefined) {",
      },
    ],
    tests: ["src/x509/verify.test.ts"],
  },
  {
    name: "x509-expiry",
    patches: [
      {
        file: "src/x509/path/certificate-rules.ts",
        find: '    case "after":\n',
        replace: '    case "after":\n      return undefined;\n',
      },
    ],
    tests: ["src/x509/verify.test.ts"],
  },
  {
    name: "x509-key-match",
    patches: [
      {
        file: "src/x509/svid.ts",
        find: "if (!(await privateKeyMatches(key, publicKey.value))) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/workload/x509-messages.test.ts"],
  },
  {
    name: "agent-answer-id",
    patches: [
      {
        file: "src/workload/x509-messages.ts",
        find: "if (!svid.value.id.equals(id.value)) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/workload/x509-messages.test.ts"],
  },
  {
    name: "agent-answer-chain",
    patches: [
      {
        file: "src/workload/x509-messages.ts",
        find: "  if (!verified.ok) return verified;\n",
        replace: "",
      },
    ],
    tests: ["src/workload/x509-messages.test.ts"],
  },
  {
    name: "jwt-signature",
    patches: [
      {
        file: "src/jwt/signer.ts",
        find: "if (yield { alg: algorithm.algorithm, key: candidate.key, signature, data }) return",
        replace: "if ((yield { alg: algorithm.algorithm, key: candidate.key, signature, data }) || true) return",
      },
    ],
    tests: ["src/jwt/validate.test.ts"],
  },
  {
    name: "jwt-bundle-choice",
    patches: [
      {
        file: "src/jwt/signer.ts",
        find: "if (bundle?.trustDomain.equals(trustDomain)) return",
        replace: "if (bundle !== undefined) return",
      },
    ],
    tests: ["src/jwt/validate.test.ts"],
  },
  {
    name: "jwt-expiry",
    patches: [
      {
        file: "src/jwt/validate.ts",
        find: "if (!(now < claims.expiresAt + leewayMs)) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/jwt/validate.test.ts"],
  },
  {
    name: "jwt-audience",
    patches: [
      {
        file: "src/jwt/validate.ts",
        find: "if (!claims.audience.some((value) => settings.audience.has(value))) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/jwt/validate.test.ts"],
  },
  {
    name: "tls-early-refusal",
    patches: [
      {
        file: "src/tls/listener.ts",
        find: `        if (verdict.ok === true) {
          for (const listener of own) Reflect.apply(listener, this.#server, [socket]);
          return;
        }
`,
        replace: `        for (const listener of own) Reflect.apply(listener, this.#server, [socket]);
        if (verdict.ok === true) return;
`,
      },
      ENTRIES_OPEN,
    ],
    tests: ["src/tls/refused-peers.test.ts"],
  },
  { name: "tls-entry-guard", patches: [ENTRIES_OPEN], tests: ["src/tls/entries.test.ts"] },
  {
    name: "tls-authorization",
    patches: [
      {
        file: "src/tls/judge.ts",
        find: "if (authorized?.ok === true) return verified;",
        replace: "if (true) return verified;",
      },
    ],
    tests: ["src/tls/refused-peers.test.ts"],
  },
  {
    name: "tls-minimum-version",
    patches: [
      {
        file: "src/tls/options.ts",
        find: '    minVersion: "TLSv1.3",\n',
        replace: '    minVersion: "TLSv1.2" as never,\n',
      },
    ],
    tests: ["src/tls/rotation.test.ts"],
  },
  {
    name: "policy-default-deny",
    patches: [
      {
        file: "src/policy/policy.ts",
        find: "if (allowed === undefined) return DEFAULT_DENY;",
        replace: 'if (allowed === undefined) return { verdict: "allow", reason: "policy.allowed", mode: "enforce" };',
      },
    ],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "policy-deny-wins",
    patches: [{ file: "src/policy/policy.ts", find: "if (denied !== undefined) return", replace: "if (false) return" }],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "gateway-header-strip",
    patches: [
      { file: "src/gateway/headers.ts", find: "return IDENTITY.has(plainName(name));", replace: "return false;" },
    ],
    tests: ["src/gateway/headers.test.ts"],
  },
  {
    name: "gateway-token-beside-certificate",
    patches: [
      {
        file: "src/gateway/middleware/authenticate.ts",
        find: "  if (jwt !== undefined && token !== undefined) {",
        replace: "  if (jwt !== undefined && token !== undefined && x509 === undefined) {",
      },
    ],
    tests: ["src/gateway/serve.test.ts"],
  },
  {
    name: "gateway-identity-fields",
    patches: [{ file: "src/gateway/serve.ts", find: "    stripIdentity(request);\n", replace: "" }],
    tests: ["src/gateway/serve.test.ts"],
  },
  {
    name: "gateway-policy",
    patches: [
      {
        file: "src/gateway/handler.ts",
        find: 'if (decision.verdict === "allow") return { target, route, peer };',
        replace: "if (true) return { target, route, peer };",
      },
    ],
    tests: ["src/gateway/gateway.test.ts"],
  },
  {
    name: "gateway-retry-idempotent",
    patches: [
      {
        file: "src/gateway/upstream/tries.ts",
        find: "return IDEMPOTENT.has(method);",
        replace: "return true;",
      },
    ],
    tests: ["src/gateway/upstream.test.ts"],
  },
  {
    name: "gateway-retry-budget",
    patches: [{ file: "src/gateway/upstream/budget.ts", find: "if (this.#left < 1) return false;", replace: "" }],
    tests: ["src/gateway/upstream.test.ts"],
  },
  {
    name: "gateway-breaker",
    patches: [
      {
        file: "src/gateway/upstream/breaker.ts",
        find: "if (probe || this.#failures >= FAILURES) this.#open();",
        replace: "",
      },
    ],
    tests: ["src/gateway/upstream.test.ts"],
  },
  {
    name: "gateway-pinned-addresses",
    patches: [
      {
        file: "src/gateway/upstream/endpoint.ts",
        find: "      peer: id,\n",
        replace: "      peer: { trustDomain: id.trustDomain.name },\n",
      },
    ],
    tests: ["src/gateway/upstream.test.ts"],
  },
  {
    name: "middleware-authorize",
    patches: [
      {
        file: "src/gateway/middleware/authorize.ts",
        find: 'if (decision.verdict === "allow") return next();',
        replace: "if (true) return next();",
      },
    ],
    tests: ["src/gateway/middleware/middleware.test.ts"],
  },
];
