import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect as dialTls } from "node:tls";
import { eventually } from "../../test/support/eventually.ts";
import type { StaticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { type ListenOptions, listen, type TlsListener } from "./listen.ts";
import {
  http1Done,
  http1Get,
  http2Ended,
  http2Requests,
  identityOf,
  Opened,
  rawExchange,
  rawOptions,
  type Shown,
  shown,
} from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";
const opened = new Opened();

let ca: TestCa;
let orders: StaticIdentity;
let good: Shown;
let handled = 0;

async function serve(protocols?: ListenOptions["protocols"]): Promise<TlsListener> {
  const handler: ListenOptions["handler"] = (_, response) => {
    handled++;
    response.end("ok");
  };
  const options = { address: "127.0.0.1", port: 0, throttle: false, handler } as const;
  return opened.add(await listen(orders, { ...options, ...(protocols === undefined ? {} : { protocols }) }));
}

/** The protocol that both sides agree on; undefined where the handshake ends, false where nobody offers one. */
function agreed({ port }: TlsListener, offered: readonly string[]): Promise<string | false | null | undefined> {
  return new Promise((resolve) => {
    const { ALPNProtocols: _, ...rest } = rawOptions(port, good, "");
    const socket = dialTls({ ...rest, ...(offered.length === 0 ? {} : { ALPNProtocols: [...offered] }) }, () => {
      resolve(socket.alpnProtocol);
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.once("close", () => resolve(undefined));
  });
}

async function answers({ port }: TlsListener, alpn: "h2" | "http/1.1", sent: "h2" | "http/1.1"): Promise<number> {
  handled = 0;
  const h2 = sent === "h2";
  const enough = (seen: Buffer) => (h2 ? http2Ended(seen) > 0 : http1Done(seen)) || /^HTTP\/1\.1 4/.test(String(seen));
  await rawExchange(rawOptions(port, good, alpn), h2 ? http2Requests() : http1Get(), enough);
  return handled;
}

describe("protocols of a listener", () => {
  before(async () => {
    ca = await TestCa.create();
    orders = await identityOf(ORDERS, ca);
    good = shown(await ca.issue({ id: "spiffe://example.org/web" }));
  });
  after(() => opened.close());

  it("[S-3] HTTP/1.1 alone: HTTP/2 is not agreed on and not spoken, before and after a rotation; the twin takes both", async () => {
    const [only, both] = [await serve(["http/1.1"]), await serve()];
    for (const rotate of [false, true]) {
      if (rotate) {
        await orders.update({ svid: await ca.issue({ id: ORDERS }) });
        for (const { counters } of [only, both]) {
          await eventually(() => counters.rotations > 0);
        }
      }
      assert.equal(await agreed(only, ["h2", "http/1.1"]), "http/1.1");
      assert.equal(await agreed(only, ["h2"]), undefined);
      assert.notEqual(await agreed(only, []), "h2");
      assert.equal(await answers(only, "http/1.1", "http/1.1"), 1);
      assert.equal(await answers(only, "h2", "h2"), 0);
      assert.equal(await answers(only, "http/1.1", "h2"), 0, "HTTP/2 without being agreed on");
      assert.equal(await agreed(both, ["h2", "http/1.1"]), "h2");
      assert.equal(await agreed(both, ["h2"]), "h2");
      assert.equal(await answers(both, "http/1.1", "http/1.1"), 1);
      assert.equal(await answers(both, "h2", "h2"), 1);
    }
    assert.equal(await agreed(await serve(["http/1.1", "h2"]), ["http/1.1", "h2"]), "h2");
  });
});
