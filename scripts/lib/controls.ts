/** The controls whose absence some test must notice, on each runtime. */
import type { Control } from "./control-row.ts";
import { AHEAD_CONTROLS } from "./controls-ahead.ts";
import { ATTACK_CONTROLS } from "./controls-attacks.ts";
import { AUTHORITY_CONTROLS } from "./controls-authority.ts";
import { CRYPTO_CONTROLS } from "./controls-crypto.ts";
import { DIAL_CONTROLS } from "./controls-dial.ts";
import { FORWARDED_CONTROLS } from "./controls-forwarded.ts";
import { GATEWAY_CONTROLS } from "./controls-gateway.ts";
import { HTTP_CONTROLS } from "./controls-http.ts";
import { JWT_CONTROLS } from "./controls-jwt.ts";
import { OPTION_CONTROLS } from "./controls-options.ts";
import { POLICY_CONTROLS } from "./controls-policy.ts";
import { RATE_CONTROLS } from "./controls-rates.ts";
import { READ_CONTROLS } from "./controls-read.ts";
import { TCP_CONTROLS } from "./controls-tcp.ts";
import { TLS_CONTROLS } from "./controls-tls.ts";
import { WHOLE_CONTROLS } from "./controls-whole.ts";
import { WORKLOAD_CONTROLS } from "./controls-workload.ts";

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
    name: "x509-memo-key",
    patches: [
      {
        file: "src/x509/path/issuer-memo.ts",
        find: "?.signers.has(nameOfKey(key)) === true",
        replace: " !== undefined",
      },
    ],
    tests: ["src/x509/path/issuer-memo.test.ts"],
  },
  {
    name: "x509-memo-octets",
    patches: [
      {
        file: "src/x509/path/issuer-memo.ts",
        find: " || !equalOctets(known.octets, octets)",
        replace: "",
      },
    ],
    tests: ["src/x509/path/issuer-memo.test.ts"],
  },
  {
    name: "x509-private-octets",
    patches: [
      {
        file: "src/x509/certificate.ts",
        find: "return new Uint8Array(this.#fields.der);",
        replace: "return this.#fields.der;",
      },
      {
        file: "src/x509/certificate.ts",
        find: "return new Uint8Array(this.#fields.tbs);",
        replace: "return this.#fields.tbs;",
      },
    ],
    tests: ["src/x509/handed-out.test.ts"],
  },
  {
    name: "crypto-hash-name",
    patches: [
      {
        file: "src/crypto/signature.ts",
        find: "if (!isHash(hash)) return undefined;",
        replace: "if (hash === undefined) return undefined;",
      },
    ],
    tests: ["src/crypto/hostile-input.test.ts"],
  },
  {
    name: "crypto-pss-length",
    patches: [
      {
        file: "src/crypto/signature.ts",
        find: "return shorter && !hasZeroOnTop(signature, modulus, exponent) ? undefined : signature;",
        replace: "return shorter && hasZeroOnTop(signature, modulus, exponent) === undefined ? undefined : signature;",
      },
    ],
    tests: ["src/crypto/signature.test.ts"],
  },
  {
    name: "crypto-self-test",
    patches: [
      {
        file: "src/crypto/wasm/self-test.ts",
        find: "every((curve) => answersRightOn(curve, engine)) && answersRightForRsa(engine);",
        replace: 'every((curve) => curve !== "P-256" || answersRightOn(curve, engine));',
      },
    ],
    tests: ["src/crypto/wasm/engine.test.ts"],
  },
  {
    name: "crypto-self-test-pss",
    patches: [{ file: "src/crypto/wasm/self-test.ts", find: ' && !verdict("rsa-pss", pss, 1)', replace: "" }],
    tests: ["src/crypto/wasm/engine.test.ts"],
  },
  {
    name: "crypto-octets",
    patches: [
      {
        file: "src/crypto/octets.ts",
        find: 'if (typeOf.call(value) !== "Uint8Array") return undefined;',
        replace: "if (false) return undefined;",
      },
    ],
    tests: ["src/crypto/hostile-input.test.ts"],
  },
  {
    name: "crypto-table-owner",
    patches: [
      {
        file: "src/crypto/wasm/engine.ts",
        find: " || !equalOctets(slot.point, point)",
        replace: "",
      },
    ],
    tests: ["src/crypto/wasm/engine.test.ts"],
  },
  {
    name: "crypto-table-own-octets",
    patches: [
      {
        file: "src/crypto/wasm/engine.ts",
        find: "if (own && slot?.given === point && slot.curve === curve) return slot;",
        replace: "if (own && slot?.curve === curve) return slot;",
      },
    ],
    tests: ["src/crypto/wasm/engine.test.ts"],
  },
  {
    name: "crypto-batch-own-verdict",
    patches: [
      {
        file: "src/crypto/wasm/engine.ts",
        find: "verdicts[index] = ((bits >>> bit) & 1) === 1;",
        replace: "verdicts[index] = bits !== 0 && bit >= 0;",
      },
    ],
    tests: ["src/crypto/wasm/engine.test.ts"],
  },
  {
    name: "crypto-together-own-verdict",
    patches: [
      {
        file: "src/crypto/verify-batch.ts",
        find: "proceed(index, checks, verdicts[at] === true);",
        replace: "proceed(index, checks, at >= 0 && verdicts.includes(true));",
      },
    ],
    tests: ["src/crypto/turn.test.ts"],
  },
  {
    name: "x509-authority-key-octets",
    patches: [
      {
        file: "src/x509/authority-keys.ts",
        find: "const name = binaryString(spki);",
        replace: "const name = binaryString(spki.subarray(0, 26));",
      },
    ],
    tests: ["src/x509/authority-keys.test.ts"],
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
    name: "agent-answer-again",
    patches: [
      {
        file: "src/workload/judged-svids.ts",
        find: 'return found?.path.every((certificate) => certificate.validityAt(now) === "within") ? found : undefined;',
        replace: "return now > 0 ? found : undefined;",
      },
    ],
    tests: ["src/workload/judged-svids.test.ts"],
  },
  {
    name: "agent-answer-again-key",
    patches: [
      {
        file: "src/workload/judged-svids.ts",
        find: "    equalOctets(a.x509SvidKey, b.x509SvidKey) &&\n",
        replace: "",
      },
    ],
    tests: ["src/workload/judged-svids.test.ts"],
  },
  {
    name: "jwt-signature",
    patches: [
      {
        file: "src/jwt/signer.ts",
        find: "if (yield { alg: algorithm.algorithm, key: candidate.key, signature, data, trusted: true })",
        replace:
          "if ((yield { alg: algorithm.algorithm, key: candidate.key, signature, data, trusted: true }) || true)",
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
        find: "if (!meets(claims.audience, settings.audience)) {",
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
          if (this.#closing !== undefined) verdict.value.drain();
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
    name: "seam-agent-override",
    patches: [
      {
        file: "src/tls/peer-agent.ts",
        find: "if ((options as Record<string, unknown>)[name] !== undefined) throw overridden(name);",
        replace: "",
      },
    ],
    tests: ["test/seams/https-agent.test.ts"],
  },
  {
    name: "seam-agent-stale-connection",
    patches: [
      {
        file: "src/tls/peer-agent.ts",
        find: "if (attempt(() => this.#isCurrent.get(socket)?.()) !== true) socket.destroy();",
        replace: "",
      },
    ],
    tests: ["test/seams/https-agent.test.ts"],
    runtimes: ["bun", "node"],
  },
  {
    name: "seam-agent-dials",
    patches: [
      { file: "src/tls/peer-agent.ts", find: "if (!this.#overfull(name)) return", replace: "if (true) return" },
    ],
    tests: ["test/seams/https-agent.test.ts"],
  },
  {
    name: "seam-bytes-before-tls",
    patches: [{ file: "src/tls/start-tls.ts", find: "if (bytes.length !== 1 || ", replace: "if (" }],
    tests: ["src/tls/verified-stream.test.ts"],
  },
  {
    name: "tls-swap-is-complete",
    patches: [
      {
        file: "src/tls/options.ts",
        find: "  server.setSecureContext(serverOptions(material, settings));",
        replace: "  server.setSecureContext({ ...material });",
      },
    ],
    tests: ["src/tls/rotation.test.ts", "src/tls/server-certificate.test.ts"],
  },
  {
    name: "tls-svid-key-match",
    patches: [
      {
        file: "src/tls/options.ts",
        find: "if (!privateKeyMatchesSync(svid.privateKeyPkcs8(), svid.leaf.publicKey)) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/tls/rotation.test.ts"],
  },
  {
    name: "tls-web-key-match",
    patches: [
      {
        file: "src/tls/server-certificate.ts",
        find: "if (!privateKeyMatchesSync(pkcs8, leaf.publicKey)) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/tls/server-certificate.test.ts"],
  },
  {
    name: "tls-chain-bounds",
    patches: [
      {
        file: "src/tls/chain.ts",
        find: "if (chain.length >= LIMITS.chainLength || bytes > LIMITS.chainBytes) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/tls/chain.test.ts", "src/tls/listen.test.ts"],
  },
  {
    name: "tls-throttle",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "if (address === undefined || this.#throttle?.isShut(address) !== true) return false;",
        replace: "if (true) return false;",
      },
    ],
    tests: ["src/tls/listen.test.ts"],
  },
  {
    name: "tls-throttle-begun",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "if (throttle?.isShut(address) !== true) return;",
        replace: "if (throttle !== null) return;",
      },
    ],
    tests: ["src/tls/handshakes.test.ts"],
  },
  {
    name: "tls-throttle-too-large",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "if (caller?.address !== undefined) this.refused(caller.address);",
        replace: "void caller;",
      },
    ],
    tests: ["src/tls/listen.test.ts"],
  },
  {
    name: "tls-sent-size",
    patches: [{ file: "src/tls/chain.ts", find: "  if (sentTooMuch(socket)) return TOO_LARGE;\n", replace: "" }],
    // Elsewhere nobody tells before objects are made.
    runtimes: ["bun", "deno"],
    tests: ["src/tls/chain.test.ts"],
  },
  {
    name: "tls-throttle-prefix",
    patches: [
      { file: "src/tls/throttle.ts", find: "  if (bytes?.length !== 16) return plain;", replace: "  return address;" },
    ],
    tests: ["src/tls/throttle.test.ts"],
  },
  {
    name: "tls-connection-limit",
    patches: [
      { file: "src/tls/connection-gate.ts", find: "      if (this.#isFull()) {", replace: "      if (false) {" },
    ],
    tests: ["src/tls/listen-places.test.ts"],
  },
  {
    name: "tls-end-of-certificates",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    if (!(now < this.#peerEnd)) return",
        replace: "    if (false) return",
      },
    ],
    tests: ["src/tls/lifetime.test.ts"],
  },
  {
    name: "tls-end-of-own-certificate",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    if (!(now < this.#ownEnd)) return",
        replace: "    if (false) return",
      },
    ],
    tests: ["src/tls/lifetime.test.ts"],
  },
  {
    name: "tls-end-of-age",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    if (!(monotonic < this.#oldAt)) return",
        replace: "    if (false) return",
      },
    ],
    tests: ["src/tls/lifetime.test.ts"],
  },
  {
    name: "tls-end-of-authority",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "      trust.changed = bundle !== trust.bundle;",
        replace: "      trust.changed = false;",
      },
    ],
    tests: ["src/tls/lifetime.test.ts"],
  },
  {
    name: "tls-end-of-own-identity",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    const lost = lossOf(ground);",
        replace: "    const lost: Refusal | undefined = undefined;",
      },
    ],
    tests: ["src/tls/lifetime.test.ts"],
  },
  {
    name: "tls-own-bundle",
    patches: [
      {
        file: "src/tls/own-identity.ts",
        find: "    if (x509.x509BundleFor(trustDomain)?.isEmpty === false) return svid;",
        replace: "    return svid;",
      },
    ],
    tests: ["src/tls/lifetime.test.ts", "src/tls/connect-errors.test.ts"],
  },
  {
    name: "tls-rejudge",
    patches: [
      {
        file: "src/tls/listener.ts",
        find: "      if (why !== undefined) {\n        connection.end(why);",
        replace: "      if (why !== undefined) {",
      },
    ],
    tests: ["src/tls/lifetime-wire.test.ts"],
  },
  {
    name: "tls-pool-key",
    patches: [
      {
        file: "src/tls/fetch.ts",
        find: "      const key = `${expectation}\\n",
        replace: "      const key = `",
      },
    ],
    tests: ["src/tls/kept-connections.test.ts"],
  },
  {
    name: "tls-pool-checkout",
    patches: [
      {
        file: "src/tls/kept-connections.ts",
        find: "    if (kept?.isCurrent !== true) {",
        replace: "    if (kept === undefined) {",
      },
    ],
    tests: ["src/tls/kept-connections.test.ts"],
  },
  {
    name: "tls-fetch-repeats",
    patches: [{ file: "src/tls/fetch-exchange.ts", find: " && !(error instanceof NoAnswer)", replace: "" }],
    tests: ["src/tls/kept-connections.test.ts"],
  },
  {
    name: "tls-http2-head",
    patches: [
      {
        file: "src/tls/entries.ts",
        find: "|| headBytes(request) <= rooms.maxHeaderBytes;",
        replace: "|| headBytes(request) > 0;",
      },
    ],
    // Others refuse such a head by themselves.
    runtimes: ["node"],
    tests: ["src/tls/floods.test.ts"],
  },
  {
    name: "tls-agent-bound",
    patches: [
      {
        file: "src/tls/places.ts",
        find: "if (this.#taken < this.#most) this.#taken++;",
        replace: "if (this.#most > 0) this.#taken++;",
      },
    ],
    tests: ["test/seams/https-agent.test.ts"],
  },
  {
    name: "tls-protocols",
    patches: [
      { file: "src/tls/options.ts", find: 'if (!protocols.includes("h2")) return', replace: "if (false) return" },
    ],
    tests: ["src/tls/protocols.test.ts"],
  },
  {
    name: "tls-options-trap",
    patches: [
      {
        file: "src/tls/tls-options.ts",
        find: "    secureContext: REFUSES,",
        replace: "    secureContext: undefined as never,",
      },
    ],
    tests: ["src/tls/tls-options.test.ts"],
  },
  {
    name: "policy-default-deny",
    patches: [
      {
        file: "src/policy/policy.ts",
        find: "    if (allowed === undefined) return this.#recorded(",
        replace:
          '    if (allowed === undefined) return { verdict: "allow", reason: "policy.allowed", mode: "enforce" };\n    if (allowed === null) return this.#recorded(',
      },
    ],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "policy-deny-wins",
    patches: [{ file: "src/policy/policy.ts", find: "    if (denied !== undefined)\n", replace: "    if (false)\n" }],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "policy-missing-in-deny",
    patches: [
      {
        file: "src/policy/match.ts",
        find: "(deny ? answer !== false : answer === true)",
        replace: "(deny && false ? answer !== false : answer === true)",
      },
    ],
    tests: ["src/policy/conditions.test.ts"],
  },
  {
    name: "policy-anonymous-by-name",
    patches: [
      {
        file: "src/policy/rule-index.ts",
        find: "      if (rule.anonymous) this",
        replace: "      if (rule.anonymous || !rule.deny) this",
      },
    ],
    tests: ["src/policy/conditions.test.ts"],
  },
  {
    name: "policy-audit-until",
    patches: [
      {
        file: "src/policy/rule-index.ts",
        find: "trial.now < rule.auditUntil !== (audit",
        replace: "true !== (audit",
      },
    ],
    tests: ["src/policy/conditions.test.ts"],
  },
  {
    name: "policy-audited-allow",
    patches: [
      {
        file: "src/policy/policy.ts",
        find: "(rule.auditUntil !== undefined) === audited",
        replace: "(!deny || (rule.auditUntil !== undefined) === audited)",
      },
    ],
    tests: ["src/policy/conditions.test.ts"],
  },
  {
    name: "policy-id-prefixes",
    patches: [
      {
        file: "src/policy/principals.ts",
        find: "  if (prefixes !== undefined) checkPrefixes(",
        replace: "  if (false) checkPrefixes(",
      },
    ],
    tests: ["src/policy/parse.test.ts"],
  },
  {
    name: "policy-truncated",
    patches: [
      {
        file: "src/policy/parse.ts",
        find: "if (!ended || after?.ended === true || (after === undefined && rules === 0)) continue;",
        replace: "if (ended || !ended) continue;",
      },
    ],
    tests: ["src/policy/parse.test.ts"],
  },
  {
    name: "policy-no-rules",
    patches: [
      {
        file: "src/policy/parse.ts",
        find: "  if (live.rules.length > 0 && next.rules.length === 0) {",
        replace: "  if (false) {",
      },
    ],
    tests: ["src/policy/parse.test.ts"],
  },
  {
    name: "authorizer-failure",
    patches: [
      {
        file: "src/policy/authorizer.ts",
        find: "      return { decision: deny(`policy.authorizer-${failure}`), headers: NO_HEADERS, failure };",
        replace: "      return { decision, headers: NO_HEADERS, failure };",
      },
    ],
    tests: ["src/policy/authorizer.test.ts"],
  },
  {
    name: "authorizer-status",
    patches: [
      {
        file: "src/policy/authorizer.ts",
        find: "    if (response.status !== 200 || response.redirected) {",
        replace: "    if (false) {",
      },
    ],
    tests: ["src/policy/authorizer.test.ts"],
  },
  {
    name: "authorizer-header-list",
    patches: [{ file: "src/policy/authorizer.ts", find: " || !this.headers.includes(plain)", replace: "" }],
    tests: ["src/policy/authorizer.test.ts"],
  },
  {
    name: "gateway-authorizer-strip",
    patches: [
      {
        file: "src/gateway/headers.ts",
        find: "    if (request.authorizer?.names.includes(plain)) continue;\n",
        replace: "",
      },
    ],
    tests: ["src/gateway/policy.test.ts"],
  },
  {
    name: "gateway-header-strip",
    patches: [{ file: "src/gateway/headers.ts", find: "&& IDENTITY.has(headerName(name));", replace: "&& false;" }],
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
    patches: [{ file: "src/gateway/app-handler.ts", find: "    stripIdentity(request);\n", replace: "" }],
    tests: ["src/gateway/serve.test.ts"],
  },
  {
    name: "gateway-policy",
    patches: [
      {
        file: "src/gateway/judge.ts",
        find: '  if (decision.verdict === "allow") {\n    const clientCert',
        replace: "  if (true) {\n    const clientCert",
      },
    ],
    tests: ["src/gateway/gateway.test.ts"],
  },
  {
    name: "gateway-reload-admit",
    patches: [{ file: "src/gateway/live.ts", find: "if (!verdict.ok) throw", replace: "if (false) throw" }],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-reload-restart",
    patches: [{ file: "src/gateway/live.ts", find: "if (fixed.length > 0) {", replace: "if (false) {" }],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-reload-standstill",
    patches: [
      {
        file: "src/gateway/reload.ts",
        find: "      await clock.sleep(SETTLE_MS, signal).catch(() => {});\n",
        replace: "",
      },
    ],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-rejudge",
    patches: [
      {
        file: "src/gateway/running.ts",
        find: '      if (decision.verdict === "allow") {',
        replace: "      if (decision !== undefined) {",
      },
    ],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-authorizer-forgotten",
    patches: [{ file: "src/gateway/judge.ts", find: "  journey.confirmed = undefined;\n", replace: "" }],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-judged-anew",
    patches: [{ file: "src/gateway/judge.ts", find: "if (room !== current()) continue;", replace: "" }],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-entered-at-once",
    patches: [
      {
        file: "src/gateway/judge.ts",
        find: "return act(room, judged);",
        replace: "return Promise.resolve().then(() => act(room, judged));",
      },
    ],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-rejudge-audience",
    patches: [
      {
        file: "src/gateway/rejudge.ts",
        find: '  if (!isForNow && (peer?.via === "jwt" || now.audience.length > 0)) return undefined;\n',
        replace: "",
      },
    ],
    tests: ["src/gateway/reload.test.ts"],
  },
  {
    name: "gateway-retry-unseen",
    patches: [
      {
        file: "src/gateway/attempts.ts",
        find: "call.unseen ? this.#isReplayable() : this.#isHarmless()",
        replace: "this.#isReplayable()",
      },
    ],
    tests: ["src/gateway/http2-upstream.test.ts"],
  },
  {
    name: "gateway-refused-stream",
    patches: [
      {
        file: "src/gateway/upstream/http2-call.ts",
        find: "stream.id > lastSeen;",
        replace: "true;",
      },
    ],
    tests: ["src/gateway/http2-upstream.test.ts"],
  },
  {
    name: "gateway-answer-length",
    patches: [
      {
        file: "src/tls/http1/parser.ts",
        find: "length !== undefined || !LENGTH.test(value)",
        replace: "false",
      },
    ],
    tests: ["src/tls/http1/parser.test.ts"],
  },
  {
    name: "gateway-answer-framing",
    patches: [
      {
        file: "src/tls/http1/parser.ts",
        find: "if (coding !== undefined && (length !== undefined || !persistent)) {",
        replace: "if (false) {",
      },
    ],
    tests: ["src/tls/http1/parser.test.ts"],
  },
  {
    name: "gateway-answer-left-over",
    patches: [
      {
        file: "src/tls/http1/connection.ts",
        find: "if (this.#call === undefined || !this.#call.received(chunk)) this.destroy();",
        replace: "this.#call?.received(chunk);",
      },
    ],
    tests: ["src/tls/http1/pool.test.ts"],
  },
  {
    name: "gateway-request-fields",
    patches: [
      {
        file: "src/tls/http1/connection.ts",
        find: "if (NAME.test(name) && VALUE.test(value)) continue;",
        replace: "if (value !== undefined) continue;",
      },
    ],
    tests: ["src/tls/http1/pool.test.ts"],
  },
  {
    name: "gateway-request-length",
    patches: [
      {
        file: "src/tls/http1/connection.ts",
        find: "if (this.#left >= 0) return connection.write(chunk);",
        replace: "if (true) return connection.write(chunk);",
      },
    ],
    tests: ["src/tls/http1/pool.test.ts"],
  },
  {
    name: "gateway-xfcc-list",
    patches: [
      {
        file: "src/gateway/xfcc.ts",
        find: "if (this.#config.from.includes(peer.id.uri)) {",
        replace: "if (true) {",
      },
    ],
    tests: ["src/gateway/xfcc.test.ts"],
  },
  {
    name: "gateway-rate-limit",
    patches: [{ file: "src/gateway/rate-limits.ts", find: "if (bucket.left < 1) {", replace: "if (false) {" }],
    tests: ["src/gateway/rate-limits.test.ts"],
  },
  {
    name: "gateway-rate-rows",
    patches: [
      {
        file: "src/gateway/rate-limits.ts",
        find: "if (filled(this.#rows.get(name) as Bucket, now, this.#config) < this.#config.burst) continue;",
        replace: "",
      },
    ],
    tests: ["src/gateway/rate-limits.test.ts"],
  },
  {
    name: "gateway-token-stays",
    patches: [
      {
        file: "src/gateway/headers.ts",
        find: '    if (lower === "authorization" && request.dropAuthorization) continue;\n',
        replace: "",
      },
    ],
    tests: ["src/gateway/headers.test.ts", "src/gateway/gateway.test.ts"],
  },
  {
    name: "gateway-websocket-policy",
    patches: [
      {
        file: "src/gateway/websocket.ts",
        find: 'route.websocket ? handshakeFault(request) : "This route takes no upgrade"',
        replace: "undefined",
      },
    ],
    tests: ["src/gateway/websocket.test.ts"],
  },
  {
    name: "gateway-websocket-accept",
    patches: [
      {
        file: "src/gateway/websocket.ts",
        find: '      answer.value("sec-websocket-accept") !== acceptOf(key)\n',
        replace: "      false\n",
      },
    ],
    tests: ["src/gateway/websocket.test.ts"],
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
  ...AHEAD_CONTROLS,
  ...ATTACK_CONTROLS,
  ...CRYPTO_CONTROLS,
  ...DIAL_CONTROLS,
  ...GATEWAY_CONTROLS,
  ...HTTP_CONTROLS,
  ...FORWARDED_CONTROLS,
  ...JWT_CONTROLS,
  ...OPTION_CONTROLS,
  ...POLICY_CONTROLS,
  ...RATE_CONTROLS,
  ...READ_CONTROLS,
  ...TCP_CONTROLS,
  ...TLS_CONTROLS,
  ...WHOLE_CONTROLS,
  ...AUTHORITY_CONTROLS,
  ...WORKLOAD_CONTROLS,
];
