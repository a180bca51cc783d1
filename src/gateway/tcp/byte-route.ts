/** A connection for bytes: the peer is proven already, the policy decides once, an upstream takes what follows. */
import type { TLSSocket } from "node:tls";
import { SpiffeError, timeOf } from "../../base/index.ts";
import { writeProxyHeader } from "../../encoding/proxy-protocol.ts";
import type { X509Peer } from "../../id/index.ts";
import {
  type Authorizer,
  type Decision,
  decide,
  type Policy,
  type RequestFacts,
  type Shadow,
} from "../../policy/index.ts";
import type { GatewayMetrics } from "../../telemetry/metrics.ts";
import { cut } from "../../tls/cut.ts";
import { type ConnectionHandler, peerOf } from "../../tls/index.ts";
import { stopReading } from "../../tls/read-stop.ts";
import type { ByteRouteConfig } from "../config-tcp.ts";
import { type ByteUpstream, faultOf } from "./byte-upstream.ts";
import { begin, type ConnectionEnd, type ConnectionStory, endOf, type Recorder, tell } from "./connection-log.ts";
import { splice } from "./splice.ts";

/** What decides. */
export interface ByteRules {
  readonly policy: Policy;
  readonly shadow: Shadow | undefined;
  readonly authorizer: Authorizer | undefined;
}

/** What the connections of all listeners for bytes share. */
export interface ByteRoom extends Recorder {
  /** What is in force now. */
  rules(): ByteRules;
  readonly metrics: Recorder["metrics"] & Pick<GatewayMetrics, "decision">;
}

/** One listener's part. */
export interface ByteDoor {
  readonly listener: string;
  readonly route: ByteRouteConfig;
  readonly upstream: ByteUpstream;
}

/** Connections per SPIFFE ID; has a row only while there is one. */
class ConnectionCounts {
  readonly #counts = new Map<string, number>();

  /** Takes one more, or not where there are as many as may be. */
  take(id: string, most: number): boolean {
    const count = this.#counts.get(id) ?? 0;
    if (count >= most) return false;
    this.#counts.set(id, count + 1);
    return true;
  }

  giveBack(id: string): void {
    const count = (this.#counts.get(id) ?? 1) - 1;
    if (count === 0) this.#counts.delete(id);
    else this.#counts.set(id, count);
  }
}

/** What rules look at: a connection has no method, path, host or headers. */
export function factsOf({ listener, route }: ByteDoor, room: ByteRoom): RequestFacts {
  return { method: "", path: "", listener, route: route.name, now: timeOf(room.clock) };
}

export const isInForce = (rules: ByteRules, now: ByteRules): boolean =>
  rules.policy === now.policy && rules.authorizer === now.authorizer;

/** Judges a peer by what is in force when the verdict is there: what came into force meanwhile has its say too. */
async function judge(
  door: ByteDoor,
  room: ByteRoom,
  story: ConnectionStory,
  peer: X509Peer,
  gone: AbortSignal,
): Promise<boolean> {
  let rules: ByteRules;
  let ruled: Decision;
  do {
    rules = room.rules();
    const facts = factsOf(door, room);
    ruled = decide(rules.policy, peer, facts);
    story.difference = rules.shadow?.compare(ruled, peer, facts);
    story.confirmed = await rules.authorizer?.confirm(ruled, peer, facts, gone);
  } while (!gone.aborted && !isInForce(rules, room.rules()));
  const decision = story.confirmed?.decision ?? ruled;
  story.decision = decision;
  room.metrics.decision(decision.verdict, decision.reason, decision.audited);
  return decision.verdict === "allow";
}

async function carry(
  door: ByteDoor,
  room: ByteRoom,
  story: ConnectionStory,
  socket: TLSSocket,
  gone: AbortSignal,
): Promise<ConnectionEnd> {
  const peer = peerOf(socket);
  if (!(await judge(door, room, story, peer, gone))) return "denied";
  if (gone.aborted) return "caller-aborted";
  const { upstream } = door;
  story.upstream = upstream.name;
  let open: Awaited<ReturnType<ByteUpstream["connect"]>>;
  try {
    open = await upstream.connect(gone);
  } catch (error) {
    if (gone.aborted) return "caller-aborted";
    story.error = error;
    return faultOf(error);
  }
  story.target = open.address;
  // it may have been ended while the upstream was dialled, by its identity or by other rules
  if (gone.aborted || socket.destroyed) {
    cut(open.socket);
    return "caller-aborted";
  }
  if (upstream.proxyHeader) {
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    const end = (address?: string, port?: number) =>
      address === undefined || port === undefined ? undefined : { address, port };
    const caller = { spiffeId: peer.id.uri, uniqueId: story.connectionId };
    open.socket.write(writeProxyHeader(end(remoteAddress, remotePort), end(localAddress, localPort), caller));
  }
  const { ended, bytesIn, bytesOut, error } = await splice(socket, open.socket, {
    idleMs: door.route.idleMs,
    clock: room.clock,
  });
  Object.assign(story, { bytesIn, bytesOut, ...(error === undefined ? {} : { error }) });
  return endOf(ended, error);
}

/** Takes the accepted connections of one listener. Every connection ends in exactly one log line. */
export function byteRoute(door: ByteDoor, room: ByteRoom): ConnectionHandler {
  const counts = new ConnectionCounts();
  const { maxConnectionsPerIdentity: most } = door.route;
  return async function gatewayConnection(socket) {
    // one side may be through long before the other
    socket.allowHalfOpen = true;
    stopReading(socket);
    const peer = peerOf(socket);
    const { uri } = peer.id;
    const story = begin(room.clock, {
      listener: door.listener,
      route: door.route.name,
      address: socket.remoteAddress,
      peer,
    });
    const gone = new AbortController();
    socket.once("close", () => gone.abort());
    socket.once("error", (error) => {
      story.error ??= error;
    });
    if (!counts.take(uri, most)) {
      socket.destroy();
      const why = `${uri} has ${most} connections on ${door.listener} already`;
      story.error = new SpiffeError("ERR_SPIFFE_DENIED", why, { reason: "peer.too-many-connections" });
      return tell(room, story, "too-many");
    }
    let ended: ConnectionEnd = "internal";
    try {
      ended = await carry(door, room, story, socket, gone.signal);
      if (ended === "caller-aborted") ended = endOf(ended, story.error);
    } catch (error) {
      story.error = error;
    } finally {
      counts.giveBack(uri);
      cut(socket);
      tell(room, story, ended);
    }
  };
}
