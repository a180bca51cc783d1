import assert from "node:assert/strict";
import { request } from "node:https";
import { describe, it } from "node:test";
import { skipWhen } from "../../test/support/skip.ts";
import { ManualClock } from "../authority/manual-clock.ts";
import { staticIdentity } from "../authority/static-identity.ts";
import { TestCa } from "../authority/test-ca.ts";
import { capabilities } from "../runtime/capabilities.ts";
import { listen } from "./listen.ts";
import { createAgent } from "./peer-agent.ts";
import { identityOf } from "./wire.testing.ts";

const ORDERS = "spiffe://example.org/orders";

describe("createAgent", () => {
  const { keptConnections } = capabilities;
  const title = "[S-9] a connection near the end of its certificate is not used again, one before that is";
  it(title, skipWhen(title, keptConnections.value ? undefined : keptConnections.why), async () => {
    const clock = new ManualClock();
    const ca = await TestCa.create();
    const svid = await ca.issue({ id: ORDERS, notAfter: new Date(clock.now() + 600_000) });
    const server = await listen(await staticIdentity({ svid, bundles: ca.x509Bundle() }), {
      port: 0,
      address: "127.0.0.1",
      handler: (incoming, response) => void response.end(String(incoming.socket.remotePort)),
    });
    const agent = createAgent(await identityOf("spiffe://example.org/web", ca), { peer: ORDERS, clock });
    /** The connection that a request came over. */
    const call = () =>
      new Promise<string>((resolve, reject) => {
        const sent = request({ agent, host: "127.0.0.1", port: server.port }, (answer) => {
          let from = "";
          answer.on("data", (part) => {
            from += part;
          });
          answer.once("end", () => resolve(from));
        });
        sent.once("error", reject).end();
      });
    const idle = async () => {
      // given back by the agent in a later turn
      await new Promise((resolve) => setImmediate(resolve));
      return Object.values(agent.freeSockets).flat().length;
    };
    try {
      const first = await call();
      assert.equal(await idle(), 1);
      // Drains begin in the last tenth, and have begun when 3 % are left.
      clock.step(530_000);
      await clock.advance(1_000);
      assert.equal(await call(), first);
      assert.equal(await idle(), 1);
      clock.step(58_000);
      await clock.advance(1_000);
      assert.equal(await idle(), 1, "it is there still");
      assert.notEqual(await call(), first);
    } finally {
      agent.destroy();
      await server.close({ deadlineMs: 0 });
    }
  });
});
