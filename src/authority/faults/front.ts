/** The socket that clients dial: passes bytes on to the server behind it, or does to the connection what networks do. */
import { chmod, rename, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { SpiffeError } from "../../base/index.ts";
import { unlinkAtExit } from "../exit-cleanup.ts";

function ignore(): void {}

/** One accepted connection with its other half. */
interface Passage {
  readonly client: Socket;
  readonly server: Socket | undefined;
}

export class Front {
  readonly #path: string;
  readonly #behind: string;
  readonly #passages = new Set<Passage>();
  #server: Server | undefined;
  #forget: () => void = ignore;
  #silent = false;
  #sockets = 0;
  /** Connections accepted so far. */
  accepted = 0;

  /**
   * @param path where to listen
   * @param behind the socket of the server that answers
   */
  constructor(path: string, behind: string) {
    this.#path = path;
    this.#behind = behind;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#passages.size;
  }

  /** @throws SpiffeError `ERR_SPIFFE_AUTHORITY` when the socket cannot be opened */
  async listen(): Promise<void> {
    if (this.#server === undefined) await this.replace();
  }

  /** Takes the socket away; connections stay. */
  async unlisten(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    await unlink(this.#path).catch(ignore);
    server.close(ignore);
    this.#forget();
  }

  /** Puts another socket at the same path, as an agent that starts while the old one still runs. */
  async replace(): Promise<void> {
    const server = createServer((client) => this.#accept(client));
    // A closed server removes the path it listened on, sooner or later; that must not be the one of its successor.
    const path = `${this.#path}.${++this.#sockets}`;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        reject(new SpiffeError("ERR_SPIFFE_AUTHORITY", `Cannot listen on ${path}`, { phase: "sockets", cause }));
      });
      server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    await rename(path, this.#path);
    this.#forget();
    this.#forget = unlinkAtExit(this.#path);
    this.#server?.close(ignore);
    this.#server = server;
  }

  /** From now on connections are accepted, read, and never answered; those that are open as well. */
  silence(): void {
    this.#silent = true;
    for (const { client, server } of this.#passages) {
      client.removeAllListeners("data");
      // Read on, so that the end of the client is noticed.
      client.resume();
      server?.destroy();
    }
  }

  /** New connections are served again; the silent ones stay silent. */
  speak(): void {
    this.#silent = false;
  }

  /** Breaks every connection off. */
  cut(): void {
    for (const { client, server } of [...this.#passages]) {
      client.destroy();
      server?.destroy();
    }
  }

  async close(): Promise<void> {
    await this.unlisten();
    this.cut();
  }

  #accept(client: Socket): void {
    this.accepted++;
    client.on("error", ignore);
    const silent = this.#silent;
    const server = silent ? undefined : connect(this.#behind);
    const passage: Passage = { client, server };
    this.#passages.add(passage);
    client.once("close", () => {
      this.#passages.delete(passage);
      server?.destroy();
    });
    if (server === undefined) {
      client.resume();
      return;
    }
    server.on("error", ignore);
    client.on("data", (bytes) => server.write(bytes));
    server.on("data", (bytes) => client.write(bytes));
    // The end of a connection that was silenced is for the client to find.
    server.once("close", () => {
      if (client.listenerCount("data") > 0) client.end();
    });
  }
}
