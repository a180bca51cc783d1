import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { eventually } from "../../test/support/eventually.ts";
import { FakeWorkloadApi, type MessageFault, TestCa } from "../authority/testing.ts";
import { X509SVIDResponseSchema } from "../gen/workload/workload_pb.js";
import { Workload } from "../workload/index.ts";
import { createFetch, listen, type TlsListener } from "./index.ts";

const ID = "spiffe://example.org/web";

describe("an update of the agent that does not fit together", () => {
  let fake: FakeWorkloadApi;
  let workload: Workload;
  let server: TlsListener;
  let handled = 0;
  before(async () => {
    fake = await FakeWorkloadApi.start({ identities: [{ id: ID }] });
    workload = await Workload.open({ socket: fake.socket });
    const handler = (_: unknown, response: { end(text: string): unknown }) => void response.end(String(++handled));
    server = await listen(workload, { address: "127.0.0.1", port: 0, handler });
  });
  after(async () => {
    await server.close();
    await workload.close();
    await fake.close();
  });

  /** A new connection in both roles, with what the workload holds now. */
  async function served(): Promise<void> {
    const { accepted } = server.counters;
    const call = createFetch(workload, { peer: ID });
    const answer = await call(`https://127.0.0.1:${server.port}/`, { headers: { connection: "close" } });
    assert.equal(await answer.text(), String(handled));
    assert.equal(server.counters.accepted, accepted + 1);
  }

  /** A whole message of a CA that the workload does not know yet, right but for what is changed in it. */
  async function message(
    change: (wire: MessageInitShape<typeof X509SVIDResponseSchema>) => void,
  ): Promise<MessageFault> {
    const ca = await TestCa.create({ trustDomain: "example.org" });
    const { chainDer, privateKeyPkcs8 } = await ca.issue({ id: ID });
    const svid = { spiffeId: ID, x509Svid: chainDer, x509SvidKey: privateKeyPkcs8, bundle: ca.certificateDer };
    const wire = { svids: [svid], federatedBundles: {} };
    change(wire);
    return { bytes: toBinary(X509SVIDResponseSchema, create(X509SVIDResponseSchema, wire)) };
  }

  const first = (wire: MessageInitShape<typeof X509SVIDResponseSchema>) =>
    wire.svids![0]! as { spiffeId: string; bundle: Uint8Array };
  const faults: [what: string, fault: () => Promise<MessageFault>][] = [
    ["another's key", async () => "wrong-key"],
    ["a trailing byte", async () => "trailing-byte"],
    ["no bundle", async () => ({ empty: "bundle" })],
    ["another SAN than it says", () => message((wire) => void (first(wire).spiffeId = "spiffe://example.org/admin"))],
    [
      "a chain to no authority",
      async () => {
        const { certificateDer } = await TestCa.create({ trustDomain: "example.org" });
        return message((wire) => void (first(wire).bundle = certificateDer));
      },
    ],
    [
      "an empty federated bundle",
      () => message((wire) => void (wire.federatedBundles = { "spiffe://partner.example": new Uint8Array() })),
    ],
  ];
  for (const [what, fault] of faults) {
    it(`[A-14] [S-11] with ${what}: handshakes go on with what was held before`, async () => {
      await fake.rotate();
      await eventually(() => workload.x509.x509Svid().leaf.serialNumber === fake.serials[0], "the newest SVID");
      const { current, counters } = workload.x509;
      fake.spoil(await fault());
      await eventually(() => workload.x509.counters.invalid === counters.invalid + 1, "a dropped update");
      assert.equal(workload.x509.current, current);
      await served();
    });
  }

  it("[A-14] the same message whole is taken, and handshakes follow it", async () => {
    const { current } = workload.x509;
    fake.spoil(await message(() => {}));
    await eventually(() => workload.x509.current !== current, "the update");
    await served();
  });
});
