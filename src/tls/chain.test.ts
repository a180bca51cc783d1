import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { createServer, connect as dialTls, type TLSSocket } from "node:tls";
import { TestCa, type TestSvid } from "../authority/test-ca.ts";
import { encodePem } from "../encoding/pem.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { presentedChain, unexpectedlyResumed } from "./chain.ts";
import { rawOptions } from "./wire.testing.ts";

let ca: TestCa;
/** Leaf, the intermediate that issued it, the one above. */
let svid: TestSvid;

/** What each side reads when both present these certificates. */
async function seenByBoth(wire: readonly Uint8Array[]): Promise<ReturnType<typeof presentedChain>[]> {
  const cert = wire.map((der) => encodePem("CERTIFICATE", der)).join("");
  const server = createServer({ cert, key: svid.keyPem, requestCert: true, rejectUnauthorized: false });
  const byServer = new Promise<ReturnType<typeof presentedChain>>((resolve) => {
    server.once("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      resolve(presentedChain(socket));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const socket = dialTls(rawOptions(port, { cert, key: svid.keyPem }, "http/1.1"));
  const byClient = await new Promise<ReturnType<typeof presentedChain>>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("secureConnect", () => resolve(presentedChain(socket)));
  });
  const both = [byClient, await byServer];
  socket.destroy();
  server.close();
  return both;
}

describe("presentedChain", () => {
  before(async () => {
    ca = await TestCa.create();
    svid = await (await (await ca.intermediate()).intermediate()).issue({ id: "spiffe://example.org/web" });
  });

  const orders: readonly [string, readonly number[]][] = [
    ["the usual order", [0, 1, 2]],
    ["the issuer last", [0, 2, 1]],
    ["an intermediate missing", [0, 2]],
    ["one twice", [0, 2, 2, 1]],
    ["with the root", [0, 1, 2, 3]],
    ["the leaf alone", [0]],
  ];
  for (const [name, order] of orders) {
    it(`[S-7] gives every certificate in the order of the wire: ${name}`, async () => {
      const all = [...svid.certificatesDer, ca.rootDer];
      const wire = order.map((index) => all[index]!);
      for (const chain of await seenByBoth(wire)) {
        assert.ok(chain.ok);
        assert.deepEqual(
          chain.value.map((der) => all.findIndex((each) => Buffer.from(each).equals(der))),
          order,
        );
      }
    });
  }

  it("[S-7] refuses more than ten, gives ten", async () => {
    const filler = Array.from({ length: 9 }, () => svid.certificatesDer[1]!);
    const leaf = svid.certificatesDer[0]!;
    for (const chain of await seenByBoth([leaf, ...filler])) assert.equal(chain.ok && chain.value.length, 10);
    for (const chain of await seenByBoth([leaf, ...filler, filler[0]!])) {
      assert.equal(chain.ok ? undefined : chain.reason, "x509.chain-too-large");
    }
  });
});

describe("unexpectedlyResumed", () => {
  it("[S-4] a resumed session is a refusal exactly where resumption can be switched off", () => {
    const resumed = { isSessionReused: () => true } as TLSSocket;
    const fresh = { isSessionReused: () => false } as TLSSocket;
    assert.equal(unexpectedlyResumed(resumed), capabilities.resumptionOff.value);
    assert.equal(unexpectedlyResumed(fresh), false);
  });
});
