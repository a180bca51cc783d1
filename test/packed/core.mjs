/** The portable core of the installed package, down to Node 20. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { isSpiffeError, SpiffeId } from "spiffe-edge";
import { judge } from "./judge.mjs";

const id = SpiffeId.parse("spiffe://x0tta6bl4.local/orders");
assert.equal(id.trustDomain.name, "x0tta6bl4.local");
assert.equal(id.path, "/orders");
console.log("ok a SPIFFE ID is parsed");

assert.throws(
  () => SpiffeId.parse("spiffe://x0tta6bl4.local/orders/"),
  (error) => isSpiffeError(error, "ERR_SPIFFE_ID") && error.reason === "id.path-trailing-slash",
);
console.log("ok a SPIFFE ID with a slash at its end is refused");

for (const testCase of JSON.parse(await readFile(new URL("cases.json", import.meta.url), "utf8"))) {
  assert.deepEqual(await judge(testCase), testCase.expected, testCase.name);
  console.log(`ok ${testCase.name}`);
}
