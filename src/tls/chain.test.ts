import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { createServer, connect as dialTls, type TLSSocket } from "node:tls";
import { skipWhen } from "../../test/support/skip.ts";
import { TestCa, type TestSvid } from "../authority/test-ca.ts";
import { encodePem } from "../encoding/pem.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { safeVerifyX509SvidSync } from "../x509/index.ts";
import { presentedChain, unexpectedlyResumed } from "./chain.ts";
import { bundlesOf, rawOptions } from "./wire.testing.ts";

let ca: TestCa;
/** Leaf, the intermediate that issued it, the one above. */
let svid: TestSvid;
/**
 * What is sent, by its index in the orders below: the three of `svid`, their root, two authorities that signed each other,
 * and a root that has to do with none of them.
 */
let all: readonly Uint8Array[];

/** What each side reads when both present these certificates. */
async function seenByBoth(
  wire: readonly Uint8Array[],
  key = svid.keyPem,
  read = presentedChain,
): Promise<ReturnType<typeof presentedChain>[]> {
  const cert = wire.map((der) => encodePem("CERTIFICATE", der)).join("");
  const server = createServer({ cert, key, requestCert: true, rejectUnauthorized: false });
  const byServer = new Promise<ReturnType<typeof presentedChain>>((resolve) => {
    server.once("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      resolve(read(socket));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const socket = dialTls(rawOptions(port, { cert, key }, "http/1.1"));
  const byClient = await new Promise<ReturnType<typeof presentedChain>>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("secureConnect", () => resolve(read(socket)));
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
    const [a, b] = [await TestCa.create(), await TestCa.create()];
    const crossed = [await b.crossSign(a), await a.crossSign(b)];
    const other = await TestCa.create();
    all = [...svid.certificatesDer, ca.rootDer, ...crossed.map((each) => each.certificateDer), other.rootDer];
  });

  const orders: readonly [string, readonly number[]][] = [
    ["the usual order", [0, 1, 2]],
    ["the issuer last", [0, 2, 1]],
    ["an intermediate missing", [0, 2]],
    ["one twice", [0, 2, 2, 1]],
    ["with the root", [0, 1, 2, 3]],
    ["the root between", [0, 3, 1, 2]],
    ["the leaf twice", [0, 0, 1, 2]],
    ["the leaf again at the end", [0, 1, 2, 0]],
    ["the root twice", [0, 3, 3, 1, 2, 3]],
    ["two authorities that signed each other", [0, 1, 2, 4, 5]],
    ["these again and again", [0, 4, 5, 4, 5, 1, 2, 5, 4]],
    ["a root of somebody else first", [0, 6, 1, 2]],
    ["a root of somebody else between", [0, 2, 6, 1]],
    ["everything backwards", [0, 6, 5, 4, 3, 2, 1]],
    ["the leaf alone", [0]],
  ];
  for (const [name, order] of orders) {
    it(`[S-7] gives every certificate in the order of the wire: ${name}`, async () => {
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

  it("[S-7] [A-8] authorities that signed each other lead nowhere, and to the bundle where one of them is in it", async () => {
    const [a, b] = [await TestCa.create(), await TestCa.create()];
    const leaf = await a.issue({ id: "spiffe://example.org/web" });
    const loop = [await b.crossSign(a), await a.crossSign(b)].map((each) => each.certificateDer);
    const wire = [...leaf.certificatesDer, ...loop, ca.rootDer, ...loop];
    for (const chain of await seenByBoth(wire, leaf.keyPem)) {
      assert.ok(chain.ok);
      assert.equal(chain.value.length, wire.length);
      const verdicts = [ca, b].map((each) => safeVerifyX509SvidSync(chain.value, bundlesOf(each.x509Bundle())));
      assert.deepEqual(
        verdicts.map((verdict) => (verdict.ok ? verdict.value.chain.length : verdict.reason)),
        ["x509.no-path", 3],
      );
    }
  });

  it("[S-7] refuses more than ten, gives ten", async () => {
    const filler = Array.from({ length: 9 }, () => svid.certificatesDer[1]!);
    const leaf = svid.certificatesDer[0]!;
    for (const chain of await seenByBoth([leaf, ...filler])) assert.equal(chain.ok && chain.value.length, 10);
    for (const chain of await seenByBoth([leaf, ...filler, filler[0]!])) {
      assert.equal(chain.ok ? undefined : chain.reason, "x509.chain-too-large");
    }
  });

  it("[S-7] refuses more than ten and more than 64 KiB where nothing tells beforehand what was sent", () => {
    const verdictOn = (count: number, size: number) => {
      let first: { raw: Uint8Array; issuerCertificate: unknown } | undefined;
      for (let i = 0; i < count; i++) first = { raw: new Uint8Array(size), issuerCertificate: first };
      // no runtime finds octets in it, both forms of the chain are there
      const silent = { getPeerX509Certificate: () => first, getPeerCertificate: () => first };
      const chain = presentedChain(silent as unknown as TLSSocket);
      return chain.ok ? chain.value.length : chain.reason;
    };
    assert.equal(verdictOn(10, 1), 10);
    assert.equal(verdictOn(11, 1), "x509.chain-too-large");
    assert.equal(verdictOn(8, 8_192), 8);
    assert.equal(verdictOn(8, 8_193), "x509.chain-too-large");
    assert.equal(verdictOn(0, 1), "peer.no-certificate");
  });

  const { sentOctets } = capabilities;
  const title = "[S-7] [A-8] of more than ten certificates nothing is made";
  it(title, skipWhen(title, sentOctets.value === "none" ? sentOctets.why : undefined), async () => {
    for (const [count, made] of [
      [10, 1],
      [11, 0],
      [120, 0],
    ] as const) {
      let asked = 0;
      const counted = (socket: TLSSocket) => {
        const get = socket.getPeerCertificate;
        socket.getPeerCertificate = ((detailed: true) => {
          asked++;
          return get.call(socket, detailed);
        }) as typeof get;
        return presentedChain(socket);
      };
      const wire = new Array<Uint8Array>(count).fill(svid.certificatesDer[0]!);
      for (const chain of await seenByBoth(wire, svid.keyPem, counted)) {
        assert.equal(chain.ok ? chain.value.length : chain.reason, made === 1 ? count : "x509.chain-too-large");
      }
      assert.equal(asked, made * 2, `${count} certificates`);
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
