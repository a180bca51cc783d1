/** A stream that stands for a socket which is still being verified. What is written before the verdict stays here. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** Connects to the given socket once it is there; fails, with nothing sent, when there will be none. */
export class LateSocket extends Duplex {
  #socket: Socket | undefined;
  #waiting: ((socket: Socket) => void) | undefined;

  constructor(verified: Promise<Socket>) {
    super({ allowHalfOpen: false });
    verified.then(
      (socket) => this.#attach(socket),
      (error: Error) => this.destroy(error),
    );
  }

  #attach(socket: Socket): void {
    if (this.destroyed) return void socket.destroy();
    this.#socket = socket;
    socket.on("data", (chunk) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
    if (socket.destroyed) return void this.destroy();
    this.#waiting?.(socket);
    this.#waiting = undefined;
  }

  // At most one call waits: the stream machinery holds the next until this one calls back.
  #whenThere(go: (socket: Socket) => void): void {
    if (this.#socket !== undefined) go(this.#socket);
    else this.#waiting = go;
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#whenThere((socket) => socket.write(chunk, callback));
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#whenThere((socket) => socket.end(() => callback()));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#socket?.destroy();
    callback(error);
  }
}
