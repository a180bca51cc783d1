/** Opens all that carries bytes: listeners with their routes, and the ways out. */
import { SpiffeError } from "../../base/index.ts";
import { withFields } from "../../telemetry/with-fields.ts";
import { listen, type TlsIdentity, type TlsListener } from "../../tls/index.ts";
import type { ByteConfig } from "../config-tcp.ts";
import { placeOf } from "../sockets.ts";
import { type ByteDoor, type ByteRoom, byteRoute } from "./byte-route.ts";
import { ByteUpstream } from "./byte-upstream.ts";
import { Egress } from "./egress.ts";
import { rejudgeBytes } from "./rejudge-bytes.ts";

/** What opening needs beside the configuration. */
export interface ByteSurroundings extends ByteRoom {
  readonly identity: TlsIdentity;
  readonly handshakeMs: number;
  /** Whether other processes listen on the same ports. */
  readonly sharePort: boolean;
  /** Sockets that were passed to this process, by name of the listener. */
  readonly sockets: ReadonlyMap<string, number>;
}

interface OpenDoor extends ByteDoor {
  readonly tls: TlsListener;
  readonly address: string;
  closed: boolean;
}

/** One place where connections come in, for status and metrics. */
export interface ByteListening {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** All that carries bytes, open. */
export interface ByteRoutes {
  readonly listeners: readonly (ByteListening & { readonly tls: TlsListener })[];
  readonly egress: readonly ByteListening[];
  /** Names of listeners that closed by themselves. */
  readonly closed: readonly string[];
  readonly upstreams: readonly ByteUpstream[];
  /** How it is, for `/status`. */
  report(): object;
  /** Judges open connections by the rules of now, and ends those that would not be let in (S-9). */
  rejudge(asks?: boolean): Promise<{ ended: number }>;
  /** Drains; what is left at the deadline is cut. */
  close(deadlineMs: number): Promise<{ cut: number }>;
}

class Opened implements ByteRoutes {
  readonly doors: OpenDoor[] = [];
  readonly ways: Egress[] = [];
  readonly upstreams: readonly ByteUpstream[];
  readonly #room: ByteSurroundings;

  constructor(upstreams: readonly ByteUpstream[], room: ByteSurroundings) {
    this.upstreams = upstreams;
    this.#room = room;
  }

  get listeners(): ByteRoutes["listeners"] {
    return this.doors.map(({ listener: name, address, tls }) => ({ name, address, port: tls.port, tls }));
  }

  get egress(): ByteListening[] {
    return this.ways.map(({ name, address, port }) => ({ name, address, port }));
  }

  get closed(): string[] {
    const doors = this.doors.filter((door) => door.closed).map((door) => door.listener);
    return [...doors, ...this.ways.filter((way) => way.closed).map((way) => way.name)];
  }

  report(): object {
    return {
      listeners: this.doors.map(({ listener: name, address, tls, route, upstream }) => ({
        name,
        address,
        port: tls.port,
        route: route.name,
        upstream: upstream.name,
        counters: tls.counters,
      })),
      egress: this.ways.map(({ name, address, port, upstream, open, overLimit }) => ({
        name,
        address,
        port,
        upstream,
        open,
        overLimit,
      })),
      upstreams: this.upstreams.map((upstream) => ({
        name: upstream.name,
        url: upstream.config.targets.map((target) => target.url),
        id: upstream.config.id,
        ...upstream.state(),
      })),
    };
  }

  rejudge(asks = true): Promise<{ ended: number }> {
    return rejudgeBytes(this.doors, this.#room, asks);
  }

  async close(deadlineMs: number): Promise<{ cut: number }> {
    const closed = await Promise.all([
      ...this.doors.map(({ tls }) => tls.close({ deadlineMs })),
      ...this.ways.map((way) => way.close(deadlineMs)),
    ]);
    await Promise.all(this.upstreams.map((upstream) => upstream.close()));
    return { cut: closed.reduce((sum, one) => sum + one.cut, 0) };
  }
}

/**
 * Opens the listeners for bytes and the ways out.
 *
 * @throws what {@link listen} and {@link Egress} throw; what was opened before is closed again
 */
export async function openByteRoutes(config: ByteConfig, room: ByteSurroundings): Promise<ByteRoutes> {
  const { identity, clock, logger } = room;
  const upstreams = config.upstreams.map((one) => new ByteUpstream(one, identity, clock));
  const upstreamOf = (name: string): ByteUpstream => {
    const found = upstreams.find((one) => one.name === name);
    if (found === undefined) throw new SpiffeError("ERR_SPIFFE_INTERNAL", `There is no upstream ${name} for bytes`);
    return found;
  };
  for (const { name, unsafePlain } of config.upstreams) {
    if (unsafePlain) logger.warn(`upstream ${name} is reached in plaintext over a network`);
  }
  const opened = new Opened(upstreams, room);
  try {
    for (const listener of config.listeners) {
      const { name, address, maxConnections, maxConnectionAgeMs, proxies, alpn } = listener;
      const route = config.routes.find((one) => one.listeners.includes(name));
      if (route === undefined) throw new SpiffeError("ERR_SPIFFE_INTERNAL", `Listener ${name} has no route`);
      const door: ByteDoor = { listener: name, route, upstream: upstreamOf(route.upstream) };
      const tls = await listen(identity, {
        onConnection: byteRoute(door, room),
        ...placeOf(listener, room.sockets),
        sharePort: room.sharePort,
        maxConnections,
        handshakeTimeoutMs: room.handshakeMs,
        clock,
        logger: withFields(logger, { listener: name }),
        ...(alpn === undefined ? {} : { alpn }),
        ...(proxies === undefined ? {} : { proxyProtocol: { from: proxies } }),
        ...(maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs }),
      });
      const open: OpenDoor = { ...door, tls, address, closed: false };
      opened.doors.push(open);
      void tls.closed.then(() => {
        open.closed = true;
      });
    }
    for (const way of config.egress) {
      const egress = new Egress(way, upstreamOf(way.upstream), room, room.sockets.get(way.name));
      opened.ways.push(egress);
      await egress.start();
    }
    for (const upstream of upstreams) upstream.start();
    return opened;
  } catch (error) {
    await opened.close(0);
    throw error;
  }
}
