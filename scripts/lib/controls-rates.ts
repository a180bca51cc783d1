/** Controls of rate limits that gateways share, and of what spans may hold. */
import { type Control, controlsIn } from "./control-row.ts";

const control = controlsIn("src/gateway/rates");

export const RATE_CONTROLS: readonly Control[] = [
  control(
    "rates-own-limit-first",
    "rates.ts",
    "const own = this.#limits.take(id);",
    "const own: RateVerdict = { ok: true, shared: this.#limits.rows < 0 };",
    "store.test.ts",
  ),
  control(
    "rates-shared-verdict",
    "rates.ts",
    "if (wait === undefined || wait === 0) return own;",
    "if (wait !== undefined || wait === undefined) return own;",
    "store.test.ts",
  ),
  control("rates-hashed-key", "rates.ts", "name).digest", '"x").digest', "store.test.ts"),
  control(
    "rates-shared-key",
    "rates.ts",
    "shared ? `domain:${id.trustDomain.name}` : id.uri",
    "id.uri",
    "rates.test.ts",
  ),
  control(
    "rates-store-wait",
    "rates.ts",
    "Math.min(wait, Math.ceil(1_000 / this.#config.rate))",
    "wait",
    "rates.test.ts",
  ),
  control("rates-password-length", "store.ts", " || password.length > MAX_PASSWORD", "", "rates.test.ts"),
  control("rates-password-lines", "store.ts", ' || password.includes("\\n")', "", "rates.test.ts"),
  control("rates-script-limit", "script.ts", "if left < 1 then", "if left < -1 then", "store.test.ts"),
  control("rates-script-expiry", "script.ts", ", 'PX', string.format('%.0f', full))", ")", "store.test.ts"),
  control("rates-store-answer", "client.ts", " && answer >= 0 ?", " ?", "store.test.ts"),
  control(
    "rates-store-words",
    "client.ts",
    "if (refusal !== undefined) return `it refused with ${refusal}`;",
    "if (refusal !== undefined) return JSON.stringify(error);",
    "store.test.ts",
  ),
  control(
    "rates-store-overdue",
    "store.ts",
    "return this.#overdue === 0 ? this.#client",
    "return true ? this.#client",
    "store.test.ts",
  ),
  control(
    "rates-store-peer",
    "client.ts",
    "{ peer: id, connect",
    "{ peer: { trustDomain: identity.x509.x509Svid().id.trustDomain.name }, connect",
    "store.test.ts",
  ),
  control(
    "rates-judged-again",
    "over-rate.ts",
    "return problemOf(journey.rated);\n  if",
    "return undefined;\n  if",
    "over-rate.test.ts",
  ),
  control(
    "rates-store-plaintext",
    "config-store.ts",
    "place.remote && unsafe !== true",
    "false",
    "config-store.test.ts",
  ),
  {
    name: "trace-no-query",
    patches: [
      {
        file: "src/gateway/request-trace.ts",
        find: "{ path }: RequestTarget",
        replace: "{ target: path }: RequestTarget",
      },
    ],
    tests: ["src/gateway/request-trace.test.ts"],
  },
  {
    name: "trace-proven-peer",
    patches: [{ file: "src/gateway/request-trace.ts", find: "answered ? id : undefined", replace: "id" }],
    tests: ["src/gateway/request-trace.test.ts"],
  },
];
