import assert from "node:assert/strict";
import { type AddressInfo, createServer, connect as dialPlain, type Server } from "node:net";
import { after, before, describe, it } from "node:test";
import { soon } from "../../../test/support/eventually.ts";
import { ManualClock, type StaticIdentity, staticIdentity, TestCa } from "../../authority/testing.ts";
import { SpiffeId } from "../../id/index.ts";
import type { ListenerResponse } from "../../tls/connections.ts";
import { listen, type TlsListener } from "../../tls/index.ts";
import { X509Bundle } from "../../x509/index.ts";
import { parseUpstreamUrl } from "../upstream-url.ts";
import { until } from "../world.testing.ts";
import { Endpoint } from "./endpoint.ts";

const ORDERS = "spiffe://example.org/orders";
const GATEWAY = "spiffe://home.example/gateway";
const LIFE_MS = 600_000;

const isAssertion = (error: unknown) => error instanceof assert.AssertionError;

describe("kept connections to an upstream", () => {
  const clock = new ManualClock();
  let home: TestCa;
  let ca: TestCa;
  let own: StaticIdentity;
  let server: TlsListener;
  let asked = 0;
  /** Answers that a test ends itself. */
  const held: ListenerResponse[] = [];
  /** A way to the server that lets nothing through before it is told to. */
  let slow: Server;
  let lets: () => void = () => {};

  before(async () => {
    [home, ca] = [await TestCa.create({ trustDomain: "home.example" }), await TestCa.create()];
    own = await staticIdentity({ svid: await home.issue({ id: GATEWAY }), bundles: trusted() });
    const svid = await ca.issue({ id: ORDERS, notAfter: new Date(clock.now() + LIFE_MS) });
    server = await listen(await staticIdentity({ svid, bundles: trusted() }), {
      address: "127.0.0.1",
      port: 0,
      handler: (request, response) => {
        const from = String(request.socket.remotePort);
        asked++;
        response.write(`${from} `);
        if (request.url === "/held") held.push(response);
        else response.end("whole");
      },
    });
    slow = createServer((socket) => {
      socket.on("error", () => {}).pause();
      lets = () => {
        const onwards = dialPlain(server.port, "127.0.0.1");
        onwards.on("error", () => socket.destroy());
        socket.pipe(onwards).pipe(socket);
      };
    });
    await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  });
  after(async () => {
    slow.close();
    await server.close({ deadlineMs: 0 });
  });

  const trusted = () => [home.x509Bundle(), ca.x509Bundle()];
  const to = (port: number, protocol: "http1" | "h2") => {
    const target = parseUpstreamUrl(`https://127.0.0.1:${port}`)!;
    return new Endpoint(target, "127.0.0.1", { id: SpiffeId.parse(ORDERS), protocol, identity: own, clock });
  };
  /** A GET: the whole answer, or why there is none. */
  const asking =
    (endpoint: Endpoint) =>
    (path: string): Promise<string> =>
      new Promise((resolve, reject) => {
        let text = "";
        endpoint.begin(
          { method: "GET", target: path, fields: [["host", "orders"]], withBody: false },
          {
            connected() {},
            head() {},
            data(_call, chunk) {
              text += Buffer.from(chunk).toString();
            },
            ended: () => resolve(text),
            failed: (_call, error) => reject(error),
            drained() {},
            unwanted() {},
          },
        );
      });

  for (const protocol of ["http1", "h2"] as const) {
    it(`[S-6] idle ones end at once with a change of the own SVID, and not with a change of nothing: ${protocol}`, async () => {
      const endpoint = to(server.port, protocol);
      const ask = asking(endpoint);
      const first = await ask("/");
      await own.update({ bundles: trusted() });
      endpoint.review();
      assert.equal(await ask("/"), first);
      await own.update({ svid: await home.issue({ id: GATEWAY }) });
      endpoint.review();
      await until(() => server.counters.open === 0);
      assert.notEqual(await ask("/"), first);
      endpoint.close();
      await until(() => server.counters.open === 0);
    });

    it(`[S-10] busy ones end at once where trust is lost, and finish where the own SVID is another: ${protocol}`, async () => {
      const svid = await home.issue({ id: GATEWAY });
      for (const lost of [
        { svid: null },
        { bundles: [home.x509Bundle()] },
        { bundles: [home.x509Bundle(), new X509Bundle(ca.trustDomain, [])] },
        undefined,
      ]) {
        const endpoint = to(server.port, protocol);
        const running = asking(endpoint)("/held");
        await until(() => held.length === 1);
        await own.update(lost ?? { svid: await home.issue({ id: GATEWAY }) });
        endpoint.review();
        if (lost !== undefined) await assert.rejects(soon(running, "it breaks"), (e) => !isAssertion(e));
        held.pop()!.end("whole");
        if (lost === undefined) assert.match(await running, /^\d+ whole$/);
        endpoint.close();
        await until(() => server.counters.open === 0);
        await own.update({ svid, bundles: trusted() });
      }
    });

    it(`are kept no more once the upstream is retired, and what comes yet is answered: ${protocol}`, async () => {
      for (const kept of [true, false]) {
        const endpoint = to(server.port, protocol);
        const ask = asking(endpoint);
        if (kept) await ask("/");
        assert.equal(server.counters.open, Number(kept));
        endpoint.retire();
        if (!kept) assert.match(await ask("/"), /^\d+ whole$/);
        await until(() => server.counters.open === 0);
      }
    });

    it(`[S-10] carry nothing where they were ended while they were dialled, and their twins do: ${protocol}`, async () => {
      for (const ends of [true, false]) {
        const dialled = new Promise<void>((resolve) => slow.once("connection", () => resolve()));
        const endpoint = to((slow.address() as AddressInfo).port, protocol);
        asked = 0;
        const answer = asking(endpoint)("/");
        await dialled;
        if (ends) endpoint.close();
        lets();
        if (ends) await assert.rejects(answer, /broke before it was used/);
        else assert.match(await answer, /^\d+ whole$/);
        assert.equal(asked, ends ? 0 : 1);
        endpoint.close();
      }
    });

    it(`[S-9] near the end of their certificate take nothing new and finish what runs, before that they take more: ${protocol}`, async () => {
      const start = clock.now();
      const endpoint = to(server.port, protocol);
      const ask = asking(endpoint);
      const passes = async (ms: number) => {
        clock.step(ms - 1_000);
        await clock.advance(1_000);
      };
      try {
        const first = await ask("/");
        assert.match(first, /^\d+ whole$/);
        // Drains begin in the last tenth, and have begun when 3 % are left.
        await passes(0.89 * LIFE_MS);
        assert.equal(await ask("/"), first);
        const running = ask("/held");
        await until(() => held.length === 1);
        await passes(0.09 * LIFE_MS);
        const second = await ask("/");
        assert.match(second, /^\d+ whole$/);
        assert.notEqual(second, first);
        held.pop()!.end("whole");
        assert.equal(await running, first);
        assert.equal(await ask("/"), second);
        await until(() => server.counters.open === 1);
      } finally {
        endpoint.close();
        clock.step(start - clock.now());
      }
    });
  }
});
