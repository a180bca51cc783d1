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

/** The reason for which a request over a connection is refused, or the code of the error. */
function ask(socket: object, rawHeaders: readonly string[] = ["Host", "edge.example"]): Promise<string | undefined> {
  const head = { method: "GET", url: "/", httpVersionMajor: 1, headers: {}, rawHeaders };
  const journey: Journey = { requestId: "r", startedAt: 0, address: undefined };
  const act = async (_: Room, judged: object) => (judged as { reason?: string }).reason;
  const judged = judgeCurrent(() => room, { ...head, socket } as unknown as ListenerRequest, journey, act);
  return judged.catch(({ code }: { code?: string }) => code);
}
/** A connection that a listener has judged. */
function connection(accepted: boolean): object {
  const socket = {};
  markConnection(socket, accepted ? { accepted, peer } : { accepted });
  return socket;
}

describe("a request", () => {
  it("[S-1] over a connection that nobody accepted is not judged, whatever it asks for", async () => {
    assert.deepEqual(await ask({}), "ERR_SPIFFE_NO_PEER");
    assert.deepEqual(await ask(connection(false)), "ERR_SPIFFE_NO_PEER");
    assert.equal(await ask(connection(true)), "request.no-route");
  });

  it("[S-23] [A-10] whose host or :authority can be none is refused, though the other one is good", async () => {
    const both = (authority: string, host: string) =>
      ask(connection(true), [":scheme", "https", ":authority", authority, "host", host]);
    assert.equal(await both("u@edge.example", "edge.example"), "request.authority");
    assert.equal(await both("edge.example", "u@edge.example"), "request.authority");
    assert.equal(await both("edge.example", "edge.example"), "request.no-route");
  });
});
