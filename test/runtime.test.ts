import assert from "node:assert/strict";
import { it } from "node:test";
import { runtime } from "../src/runtime/detect.ts";
import { skipWhen } from "./support/skip.ts";

const expected = process.env.SPIFFE_EDGE_TEST_RUNTIME;
const title = "runs on the runtime that the suite was started for";

it(title, skipWhen(title, expected === undefined ? "SPIFFE_EDGE_TEST_RUNTIME is not set" : undefined), () => {
  assert.equal(runtime.name, expected);
  // What only that runtime has, so that the name alone is not believed.
  assert.equal("Bun" in globalThis, expected === "bun");
  assert.equal("Deno" in globalThis, expected === "deno");
  assert.match(runtime.version, /^\d+\.\d+\.\d+/);
});
