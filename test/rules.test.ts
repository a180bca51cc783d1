import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sourceFile } from "../scripts/lib/imports.ts";
import { RULES, type Sources } from "../scripts/lib/rules.ts";

/** Sources made of the given texts; what a test calls `test/…` counts as around the product. */
function sources(texts: Readonly<Record<string, string>>): Sources {
  const all = Object.entries(texts).map(([path, text]) => sourceFile(path, text));
  const product = all.filter(({ path }) => !path.endsWith(".test.ts") && !path.startsWith("test/"));
  const around = all.filter(({ path }) => path.startsWith("test/"));
  return { all, product, byPath: new Map(product.map((file) => [file.path, file])), around };
}

function violations(rule: string, texts: Readonly<Record<string, string>>): string[] {
  const found = RULES.find(({ name }) => name === rule);
  assert.ok(found, `there is no rule ${rule}`);
  return [...found.check(sources(texts))];
}

const ENTRIES = { "mod.ts": "", "src/crypto/index.ts": "", "src/policy/index.ts": "" };

/** Each rule with a violation and a twin that differs in one thing and passes. */
const CASES: readonly { rule: string; bad: Record<string, string>; good: Record<string, string>; says: RegExp }[] = [
  {
    rule: "directions",
    bad: { "src/id/a.ts": 'import { b } from "../x509/b.ts";' },
    good: { "src/x509/a.ts": 'import { b } from "../id/b.ts";' },
    says: /^src\/id\/a\.ts:1: id must not import x509/,
  },
  {
    rule: "directions",
    bad: { "src/jwt/a.ts": 'export type { B } from "../x509/b.ts";' },
    good: { "src/jwt/a.ts": 'export type { B } from "../crypto/b.ts";' },
    says: /jwt must not import x509/,
  },
  {
    rule: "directions",
    bad: { "src/policy/a.ts": 'import { log } from "../telemetry/logger.ts";' },
    good: { "src/tls/a.ts": 'import { log } from "../telemetry/logger.ts";' },
    says: /portable policy must not import telemetry/,
  },
  {
    rule: "portable-folders",
    bad: { "src/id/a.ts": 'import type { X } from "node:tls";' },
    good: { "src/tls/a.ts": 'import type { X } from "node:tls";' },
    says: /portable code imports node:tls/,
  },
  {
    rule: "portable-folders",
    bad: { "src/id/a.ts": "const b = Buffer.from([]);" },
    good: { "src/id/a.ts": "// a Buffer\nconst b = new ArrayBuffer(1);" },
    says: /Buffer in portable code/,
  },
  {
    rule: "portable-entries",
    bad: { ...ENTRIES, "mod.ts": 'export * from "./src/a.ts";', "src/a.ts": 'import { x } from "pkijs";' },
    good: { ...ENTRIES, "mod.ts": 'export type * from "./src/a.ts";', "src/a.ts": 'import { x } from "pkijs";' },
    says: /^mod\.ts → src\/a\.ts reaches pkijs/,
  },
  {
    rule: "packages",
    bad: { "src/tls/a.ts": 'import { Hono } from "hono";' },
    good: { "src/gateway/a.ts": 'import { Hono } from "hono";' },
    says: /hono is imported only in gateway/,
  },
  {
    rule: "packages",
    bad: { "src/tls/a.ts": 'import { init } from "es-module-lexer";' },
    good: { "src/cli/a.ts": 'import { parse } from "yaml";' },
    says: /es-module-lexer is not a dependency/,
  },
  {
    rule: "words",
    bad: { "src/gateway/a.ts": "socket.getPeerX509Certificate();" },
    good: { "src/gateway/a.ts": " * never socket.getPeerCertificates();" },
    says: /S-2/,
  },
  {
    rule: "clocks",
    bad: { "src/tls/a.ts": "const t = Date.now();" },
    good: { "src/tls/a.ts": "const t = new Date(clock.now());" },
    says: /time comes from a Clock/,
  },
  {
    rule: "test-style",
    bad: { "src/id/a.test.ts": `it("x", { ${"skip"}: "no" }, () => {});` },
    good: { "src/id/a.test.ts": 'it("x", skipWhen("x", "no"), () => {});' },
    says: /test\/support\/skip\.ts/,
  },
];

describe("rules for the sources", () => {
  for (const [index, { rule, bad, good, says }] of CASES.entries()) {
    it(`${rule} reports case ${index + 1} and passes its twin`, () => {
      const found = violations(rule, bad);
      assert.equal(found.length, 1, found.join("\n"));
      assert.match(found[0] ?? "", says);
      assert.deepEqual(violations(rule, good), []);
    });
  }
});
