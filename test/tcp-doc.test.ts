/** The gateway files that docs/tcp.md shows are read as they stand. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { parseGatewayConfig } from "../src/gateway/index.ts";
import { root } from "./support/programs.ts";

describe("docs/tcp.md", () => {
  const text = readFileSync(`${root}docs/tcp.md`, "utf8");
  const files = [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, file = ""]) => file);

  it("shows three gateway files", () => assert.equal(files.length, 3));

  for (const [i, file] of files.entries()) {
    it(`gateway file ${i + 1} is read without a fault`, () => {
      const { bytes } = parseGatewayConfig(file);
      assert.ok(bytes.routes.length + bytes.egress.length > 0);
    });
  }
});
