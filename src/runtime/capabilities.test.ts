import assert from "node:assert/strict";
import { createSecureServer } from "node:http2";
import { describe, it } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { TestCa } from "../authority/test-ca.ts";
import { capabilities } from "./capabilities.ts";

const HOST = { host: "127.0.0.1", ca: [], rejectUnauthorized: false, checkServerIdentity: () => undefined };

/** Starts a server, gives its port to the test, closes it. */
async function withServer(
  options: object,
  test: (port: number, swap: (more: object) => void) => Promise<void>,
): Promise<void> {
  const server = createSecureServer({ allowHTTP1: true, minVersion: "TLSv1.3", ...options });
  server.on("secureConnection", (socket: TLSSocket) => void socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await test((server.address() as { port: number }).port, (more) => server.setSecureContext({ ...options, ...more }));
  await new Promise((resolve) => server.close(resolve));
}

function handshake<T>(port: number, look: (socket: TLSSocket) => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...HOST, port });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      const seen = look(socket);
      socket.once("close", () => resolve(seen));
      socket.destroy();
    });
  });
}

function linked(first: { raw?: Uint8Array; issuerCertificate?: unknown } | undefined): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let at = first; at?.raw !== undefined && chain.length < 10; at = at.issuerCertificate as typeof first) {
    chain.push(new Uint8Array(at.raw));
  }
  return chain;
}

describe("capabilities of this runtime, measured anew", () => {
  it("the call that gives every presented certificate in wire order, and why not the other", async () => {
    const ca = await TestCa.create();
    const two = await (await ca.intermediate()).intermediate();
    const { certificatesDer, keyPem } = await two.issue({ id: "spiffe://example.org/web" });
    const wire = [certificatesDer[0]!, certificatesDer[2]!, certificatesDer[1]!];
    const cert = wire.map((der) => pem(der)).join("");
    await withServer({ cert, key: keyPem }, async (port) => {
      const byLinks = await handshake(port, (socket) => linked(socket.getPeerX509Certificate()));
      const detailed = await handshake(port, (socket) => linked(socket.getPeerCertificate(true)));
      const chosen = capabilities.peerChain.value === "x509-links" ? byLinks : detailed;
      assert.deepEqual(chosen, wire);
    });
  });

  it("whether a foreign key is noticed when it is installed", async () => {
    const ca = await TestCa.create();
    const one = await ca.issue({ id: "spiffe://example.org/web" });
    const other = await ca.issue({ id: "spiffe://example.org/web" });
    await withServer({ cert: one.certPem, key: one.keyPem }, async (port, swap) => {
      await handshake(port, () => undefined);
      const install = () => swap({ cert: one.certPem, key: other.keyPem });
      if (capabilities.mismatchedKeyThrows.value) {
        assert.throws(install);
        await handshake(port, () => undefined);
      } else {
        install();
        await assert.rejects(handshake(port, () => undefined));
      }
      swap({ cert: other.certPem, key: other.keyPem });
      await handshake(port, () => undefined);
    });
  });
});

function pem(der: Uint8Array): string {
  const body = Buffer.from(der).toString("base64").replace(/.{64}/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
}
