import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { FakeWorkloadApi } from "../authority/testing.ts";
import { BundleSource } from "./bundle-source.ts";
import { WorkloadApiClient } from "./client.ts";
import { JwtSource } from "./jwt-source.ts";
import type { OpenOptions, SourceOptions } from "./open.ts";
import { X509Source } from "./x509-source.ts";

type Open = (options: SourceOptions & OpenOptions) => Promise<X509Source | JwtSource | BundleSource>;

const OPEN: Readonly<Record<string, Open>> = {
  X509Source: (options) => X509Source.open(options),
  JwtSource: (options) => JwtSource.open(options),
  BundleSource: (options) => BundleSource.open(options),
};

for (const [name, open] of Object.entries(OPEN)) {
  describe(`the connection of a ${name}`, () => {
    it("ends with the source that made it", async () => {
      await using fake = await FakeWorkloadApi.start();
      const source = await open({ socket: fake.socket });
      assert.equal(fake.connections.open, 1);
      await source.close();
      await eventually(() => fake.connections.open === 0, "the end of the connection");
      {
        await using again = await open({ socket: fake.socket });
        assert.ok(again.current && fake.connections.open === 1);
      }
      await eventually(() => fake.connections.open === 0, "the end of the block");
    });

    it("outlives it where it is a given client's", async () => {
      await using fake = await FakeWorkloadApi.start();
      await using client = new WorkloadApiClient({ socket: fake.socket });
      const source = await open({ client });
      await source.close();
      await client.fetchX509Context();
      assert.deepEqual(fake.connections, { accepted: 1, open: 1 });
    });

    it("ends when it does not become ready in time", async () => {
      await using fake = await FakeWorkloadApi.start();
      fake.redact();
      const late = open({ socket: fake.socket, timeoutMs: 300 });
      await assert.rejects(late, { code: "ERR_SPIFFE_TIMEOUT", reason: "workload.no-svid" });
      assert.equal(fake.connections.accepted, 1);
      await eventually(() => fake.connections.open === 0, "the end of the connection");
    });
  });
}
