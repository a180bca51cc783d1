import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../authority/testing.ts";
import { isSpiffeError } from "../base/index.ts";
import { parseGatewayConfig } from "./config.ts";
import { type Grounds, Live, successor } from "./live.ts";

const rule = (name: string) => ({ rule: name, allow: { ids: [`spiffe://example.org/${name}`] } });

/** A configuration whose candidate is in a file of its own, or that has none. */
function config(candidate: string | undefined) {
  const files = [{ glob: "next.yaml", idPrefixes: ["spiffe://example.org"] }];
  return parseGatewayConfig(
    {
      listen: { port: 8443 },
      upstreams: { a: { url: "http://127.0.0.1:1" } },
      routes: [{ name: "a", path: "/**", upstream: "a" }],
      policy: { rules: [rule("web")], ...(candidate !== undefined && { candidate: { rules: [rule("own")], files } }) },
    },
    { env: {}, readPolicyFiles: () => [{ file: "next.yaml", text: candidate ?? "" }] },
  );
}
const whole = `rules: ${JSON.stringify([rule("web"), rule("cron")])}\nend: true\n`;
const cut = `rules: ${JSON.stringify([rule("web")])}\n`;

describe("[S-26] what may follow the configuration in force", () => {
  const grounds = { clock: new ManualClock() } as unknown as Grounds;
  const follow = (before: string | undefined, next: string | undefined) => {
    try {
      const made = successor(new Live(config(before), grounds), config(next), grounds);
      return `${made.config.candidate?.rules.join(" ")}`;
    } catch (error) {
      assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
      return error.reason;
    }
  };

  it("a candidate's file that was cut short does not, as no other file of a policy", () => {
    assert.equal(follow(whole, cut), "policy.truncated");
    assert.equal(follow(whole, whole), "own web cron");
    assert.equal(follow(cut, cut), "own web");
  });

  it("a candidate may come and go", () => {
    assert.deepEqual([follow(undefined, cut), follow(whole, undefined)], ["own web", "undefined"]);
  });
});
