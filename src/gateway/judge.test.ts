import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X509Peer } from "../id/index.ts";
import { SpiffeId } from "../id/index.ts";
import type { ListenerRequest } from "../tls/index.ts";
import { markConnection } from "../tls/peer.ts";
import type { Journey } from "./journey.ts";
import { judgeCurrent } from "./judge.ts";
import type { Room } from "./room.ts";
import { idOf } from "./world.testing.ts";

/** What is in force for requests that find no route. */
const room = { routes: { isElsewhere: () => false, find: () => undefined } } as unknown as Room;
const peer: X509Peer = { via: "x509", id: SpiffeId.parse(idOf("web")), expiresAt: new Date(2 ** 42) };

describe("[S-1] a request over a connection that nobody accepted", () => {
  const ask = (socket: object) => {
    const head = { method: "GET", url: "/", httpVersionMajor: 1, headers: {}, rawHeaders: ["Host", "edge.example"] };
    const journey: Journey = { requestId: "r", startedAt: 0, address: undefined };
    const act = async (_: Room, judged: object) => (judged as { reason?: string }).reason;
    return judgeCurrent(() => room, { ...head, socket } as unknown as ListenerRequest, journey, act).catch(
      ({ code }: { code?: string }) => code,
    );
  };

  it("is not judged, whatever it asks for", async () => {
    const refused = {};
    markConnection(refused, { accepted: false });
    assert.deepEqual([await ask({}), await ask(refused)], ["ERR_SPIFFE_NO_PEER", "ERR_SPIFFE_NO_PEER"]);
    const accepted = {};
    markConnection(accepted, { accepted: true, peer });
    assert.equal(await ask(accepted), "request.no-route");
  });
});
