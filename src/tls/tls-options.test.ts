import assert from "node:assert/strict";
import { Agent, type RequestOptions, request as sendHttps } from "node:https";
import { after, before, describe, it } from "node:test";
import { connect as dialTls, type Server, type TLSSocket, createServer as tlsServer } from "node:tls";
import { inspect } from "node:util";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { listen, type TlsListener } from "./listen.ts";
import { peerOf } from "./peer.ts";
import { tlsOptions } from "./tls-options.ts";
import { identityOf, shown } from "./wire.testing.ts";
import { HOME, makeWorld, WEB, type World } from "./wrong-peers.testing.ts";

const ORDERS = `spiffe://${HOME}/orders`;

let world: World;
let own: StaticIdentity;
let listener: TlsListener;

/** A GET with a token and a body's worth of headers; resolves with what came. */
function get(options: RequestOptions, port: number): Promise<{ text: string; socket: unknown } | Error> {
  return new Promise((resolve) => {
    try {
      const target = { host: "127.0.0.1", port, path: "/", headers: { authorization: "Bearer secret" } };
      const sent = sendHttps({ ...options, ...target }, (answer) => {
        const { socket } = answer;
        let text = "";
        answer.on("data", (chunk: Buffer) => {
          text += chunk;
        });
        answer.on("end", () => resolve({ text, socket }));
      });
      sent.on("error", resolve);
      sent.end();
    } catch (error) {
      resolve(error as Error);
    }
  });
}

describe("tlsOptions", () => {
  before(async () => {
    world = await makeWorld("serverAuth");
    own = await identityOf(WEB, world.home, world.partner);
    listener = await listen(await identityOf(ORDERS, world.home), {
      port: 0,
      address: "127.0.0.1",
      handler: (request, response) => void response.end(peerOf(request).id.uri),
    });
  });

  after(() => listener.close({ deadlineMs: 0 }));

  it("gives https.request a verified connection", async () => {
    const answer = await get(tlsOptions(own, { peer: ORDERS }), listener.port);
    assert.ok(!(answer instanceof Error), String(answer));
    assert.equal(answer.text, WEB);
  });

  it("[S-5] calls back with a socket whose peer is known, and with an error and no socket otherwise", async () => {
    const dial = (peer: string) =>
      new Promise<{ error: Error | null; socket: TLSSocket | undefined }>((resolve) => {
        const { createConnection } = tlsOptions(own, { peer, alpn: [] });
        const target = { hostname: "127.0.0.1", host: `127.0.0.1:${listener.port}`, port: String(listener.port) };
        assert.equal(
          createConnection(target, (error, socket) => resolve({ error, socket })),
          undefined,
        );
      });
    const good = await dial(ORDERS);
    assert.equal(good.error, null);
    assert.equal(peerOf(good.socket).id.uri, ORDERS);
    good.socket?.destroy();
    const bad = await dial(`${ORDERS}2`);
    assert.ok(isSpiffeError(bad.error, "ERR_SPIFFE_PEER_REFUSED"), String(bad.error));
    assert.equal(bad.error.reason, "peer.not-authorized");
    assert.equal(bad.socket, undefined);
  });

  it("[A-5] sends a wrong peer no byte", async () => {
    const twin = { name: "the twin", show: shown(world.good), reason: undefined };
    for (const { name, show, reason } of [...world.wrong, twin]) {
      if (show === undefined) continue;
      let bytes = 0;
      const server: Server = tlsServer({ ...show, requestCert: true, rejectUnauthorized: false });
      server.on("secureConnection", (socket) => {
        socket.on("error", () => {});
        socket.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          socket.end("HTTP/1.1 204 No Content\r\n\r\n");
        });
      });
      server.on("tlsClientError", () => {});
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { port: number };
      const answer = await get(tlsOptions(own, { peer: { trustDomain: HOME } }), port);
      await new Promise((resolve) => server.close(resolve));
      if (reason === undefined) {
        assert.ok(!(answer instanceof Error) && bytes > 0, `${name}: ${answer}`);
        continue;
      }
      assert.ok(isSpiffeError(answer), `${name}: ${answer}`);
      // A stack that breaks the handshake by itself has refused the peer as well.
      if (answer.code !== "ERR_SPIFFE_TLS") assert.equal(answer.reason, reason, name);
      assert.equal(bytes, 0, name);
    }
  });

  it("[S-5] throws when a caller dials in another way with the options", async () => {
    const options = tlsOptions(own, { peer: ORDERS });
    // The types refuse most of these already.
    const loose: object = options;
    const plain = { ...options, createConnection: undefined };
    const others: Record<string, () => object | Promise<unknown>> = {
      "own createConnection": () =>
        get({ ...options, createConnection: (to: object) => dialTls({ ...loose, ...to }) }, listener.port),
      "own createConnection that trusts": () =>
        get(
          { ...options, createConnection: (to: object) => dialTls({ ...loose, ...to, rejectUnauthorized: false }) },
          listener.port,
        ),
      "createConnection taken out": () => get(plain, listener.port),
      "an agent of its own": () => get({ ...options, agent: false }, listener.port),
      "an agent with the options": () => get({ agent: new Agent(loose) }, listener.port),
      "tls.connect": () => dialTls({ ...loose, host: "127.0.0.1", port: listener.port }),
    };
    const accepted = listener.counters.accepted;
    for (const [name, way] of Object.entries(others)) {
      let outcome: unknown;
      try {
        outcome = await way();
      } catch (error) {
        outcome = error;
      }
      assert.ok(isSpiffeError(outcome, "ERR_SPIFFE_USAGE"), `${name}: ${outcome}`);
      assert.match(outcome.message, /createConnection/);
    }
    assert.equal(listener.counters.accepted, accepted);
    assert.throws(() => {
      (options as { createConnection: unknown }).createConnection = dialTls;
    }, TypeError);
    // the twin: the same options, left as they are
    const answer = await get(options, listener.port);
    assert.ok(!(answer instanceof Error), String(answer));
  });

  it("[S-5] stacks that do not look at the trap still accept nobody", async () => {
    const { secureContext: _, createConnection: __, ...rest } = tlsOptions(own, { peer: ORDERS });
    assert.ok(rest.checkServerIdentity() instanceof Error);
    const server = tlsServer({ ...shown(world.good), minVersion: "TLSv1.2" });
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const outcome = await new Promise((resolve) => {
      const socket = dialTls({ ...(rest as object), host: "127.0.0.1", port });
      socket.once("secureConnect", () => resolve("connected"));
      socket.once("error", resolve);
    });
    assert.ok(outcome instanceof Error, String(outcome));
    await new Promise((resolve) => server.close(resolve));
  });

  it("refuses options it does not know, a missing peer and a missing callback in one sentence", () => {
    const wrong = [
      { peer: ORDERS, rejectUnauthorized: false },
      { peer: ORDERS, createConnection: dialTls },
      {},
      { peer: "https://example.org" },
      { peer: [] },
    ];
    for (const options of wrong) {
      assert.throws(
        () => tlsOptions(own, options as never),
        (error: SpiffeError) =>
          (isSpiffeError(error, "ERR_SPIFFE_USAGE") || isSpiffeError(error, "ERR_SPIFFE_ID")) &&
          error.message.length < 300,
      );
    }
    const { createConnection } = tlsOptions(own, { peer: ORDERS });
    assert.throws(
      () => createConnection({ host: "127.0.0.1", port: listener.port }),
      (error: unknown) => isSpiffeError(error, "ERR_SPIFFE_USAGE"),
    );
  });

  it("shows no key and throws nothing when it is logged", () => {
    const options = tlsOptions(own, { peer: ORDERS });
    const text = inspect(options, { depth: 9, showHidden: true }) + JSON.stringify(options);
    assert.ok(!/PRIVATE KEY|BEGIN/.test(text), text);
  });
});
