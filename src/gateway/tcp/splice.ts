/** Two connections as one: bytes both ways with half-closes, back-pressure and an idle limit, until both are over. */
import type { Duplex } from "node:stream";
import type { Clock } from "../../base/index.ts";
import { cut } from "../../tls/cut.ts";
import { readOn, stopReading } from "../../tls/read-stop.ts";

/** Which of the two broke off, or that nothing moved; `done` when each side said all it had to say. */
export type SpliceEnd = "done" | "caller-aborted" | "upstream-aborted" | "idle";

/** What went through. */
export interface Spliced {
  readonly ended: SpliceEnd;
  /** Bytes from the caller. */
  readonly bytesIn: number;
  /** Bytes from the upstream. */
  readonly bytesOut: number;
  /** What broke the connection, where something did. */
  readonly error?: Error;
}

/** Settings of {@link splice}. */
export interface SpliceOptions {
  /** Milliseconds without a byte in either direction. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** One direction. */
class Lane {
  bytes = 0;
  /** The source said that it is through. */
  said = false;
  /** And all of it has been written. */
  over = false;

  constructor(from: Duplex, to: Duplex, moved: () => void, done: () => void) {
    from.on("data", (chunk: Uint8Array) => {
      this.bytes += chunk.byteLength;
      moved();
      if (to.destroyed || to.writableEnded || to.write(chunk)) return;
      stopReading(from);
      to.once("drain", () => {
        moved();
        readOn(from);
      });
    });
    const end = () => {
      this.said = true;
      if (!to.destroyed) to.end();
    };
    // who said nothing at all may have ended before anybody listened
    if (from.readableEnded) queueMicrotask(end);
    else from.once("end", end);
    to.once("finish", () => {
      this.over = this.said;
      done();
    });
  }
}

/** Passes bytes between two open connections until both are over. Owns both: they are closed when it resolves. */
export function splice(caller: Duplex, upstream: Duplex, { idleMs, clock }: SpliceOptions): Promise<Spliced> {
  return new Promise((resolve) => {
    let last = clock.monotonic();
    let settled = false;
    let broken: Error | undefined;
    const stop = new AbortController();
    const moved = () => {
      last = clock.monotonic();
    };
    const finish = (ended: SpliceEnd) => {
      if (settled) return;
      settled = true;
      stop.abort();
      if (ended === "done") {
        caller.destroy();
        upstream.destroy();
      } else {
        cut(caller);
        cut(upstream);
      }
      resolve({
        ended,
        bytesIn: inwards.bytes,
        bytesOut: outwards.bytes,
        ...(broken === undefined ? {} : { error: broken }),
      });
    };
    const done = () => {
      if (inwards.over && outwards.over) finish("done");
    };
    const inwards = new Lane(caller, upstream, moved, done);
    const outwards = new Lane(upstream, caller, moved, done);
    const watch = (socket: Duplex, said: Lane, heard: Lane, ended: SpliceEnd) => {
      // a connection that ends by itself is no error of anybody's; the listener outlives this exchange
      socket.on("error", (error: Error) => {
        broken ??= error;
      });
      const closed = () => {
        // who has said and heard all may go while the other still listens
        if (!said.said || !heard.over) finish(ended);
      };
      if (socket.destroyed) return closed();
      socket.once("close", closed);
    };
    watch(caller, inwards, outwards, "caller-aborted");
    watch(upstream, outwards, inwards, "upstream-aborted");
    const rest = async () => {
      while (!settled) {
        const left = last + idleMs - clock.monotonic();
        if (!(left > 0)) return finish("idle");
        await clock.sleep(left, stop.signal);
      }
    };
    rest().catch(() => {});
    readOn(caller);
    readOn(upstream);
  });
}
