/** A real Redis for a test: reached over mutual TLS or loopback as a gateway does, and by the test on a unix socket. */
import { Redis } from "ioredis";
import type { TlsIdentity } from "../../src/tls/index.ts";
import type { Workload } from "../../src/workload/index.ts";
import { findProgram, Home, ServerProcess } from "../seams/programs.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./ports.ts";

const program = findProgram("redis-server");

/** What is missing for such tests. */
export const missingRedis: string | undefined =
  program === undefined ? "Redis: apt-get install redis-server" : undefined;

/** What it is started with. */
export interface RedisServerOptions {
  /** Makes it a server of mutual TLS with this SVID. */
  readonly tls?: TlsIdentity | undefined;
  readonly password?: string | undefined;
}

export class RedisServer {
  readonly port: number;
  readonly home: Home;
  readonly #flags: readonly string[];
  #process: ServerProcess | undefined;
  #admin: Redis | undefined;

  private constructor(port: number, home: Home, flags: readonly string[]) {
    this.port = port;
    this.home = home;
    this.#flags = flags;
  }

  static async start({ tls, password }: RedisServerOptions = {}): Promise<RedisServer> {
    const home = new Home();
    const port = await freePort();
    if (tls !== undefined) await home.writeSvid(tls as Workload);
    const settings: Record<string, string> = {
      bind: "127.0.0.1",
      unixsocket: home.file("redis.sock"),
      appendonly: "no",
      save: "",
      dir: home.path,
      ...(tls === undefined ? { port: String(port) } : { port: "0", "tls-port": String(port) }),
      ...(tls !== undefined && {
        "tls-cert-file": home.file("svid.pem"),
        "tls-key-file": home.file("key.pem"),
        "tls-ca-cert-file": home.file("bundle.pem"),
        "tls-auth-clients": "yes",
      }),
      ...(password !== undefined && { requirepass: password }),
    };
    const server = new RedisServer(
      port,
      home,
      Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    );
    await server.begin();
    return server;
  }

  /** Starts it, also again after it was killed: empty, on the same port. */
  async begin(): Promise<void> {
    const started = new ServerProcess(this.home, program!, this.#flags);
    this.#process = started;
    await eventually(() => /Ready to accept connections/.test(started.output));
  }

  /** A client of the test itself. */
  get admin(): Redis {
    const password = /--requirepass (.*)/.exec(this.#flags.join(" "))?.[1];
    this.#admin ??= new Redis({
      path: this.home.file("redis.sock"),
      lazyConnect: true,
      ...(password === undefined ? {} : { password }),
    }).on("error", () => {});
    return this.#admin;
  }

  /** Connections other than those of the test. */
  async connections(): Promise<number> {
    const list = String(await this.admin.call("CLIENT", "LIST", "TYPE", "normal"));
    return list.split("\n").filter((line) => / addr=127\.0\.0\.1:/.test(line)).length;
  }

  async kill(): Promise<void> {
    this.#admin?.disconnect();
    this.#admin = undefined;
    await this.#process?.end();
  }

  async close(): Promise<void> {
    await this.kill();
    this.home.remove();
  }
}
