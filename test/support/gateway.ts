/** `spiffe-edge gateway` as a process of its own, between callers and upstreams of the test, all on free ports. */
import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Authority } from "../../src/authority/index.ts";
import type { GatewayInput } from "../../src/gateway/index.ts";
import { createFetch, type Handler } from "../../src/tls/index.ts";
import { Workload } from "../../src/workload/index.ts";
import { type Ended, onThisRuntime, Program } from "./programs.ts";

export const DOMAIN = "x0tta6bl4.local";
export const idOf = (name: string): string => `spiffe://${DOMAIN}/${name}`;
export const GATEWAY: string = idOf("gateway");

const NAMES = ["gateway", "web", "guest"];
/** Long beside any test. */
const TTL_MS = 3_600_000;
const entries = (ttlMs: number) => NAMES.map((name) => ({ id: idOf(name), socket: name, ttlMs }));

type Asked = Parameters<Handler>[0] | IncomingMessage;
type Answering = Parameters<Handler>[1] | ServerResponse;

/** An upstream that answers `/<letter>/<number>` with the number and the body it got, and notes each number. */
export class NumberedUpstream {
  readonly server: Server;
  /** How often each number arrived; the index is the number. */
  readonly numbers: number[] = [];
  /** Answers that a test has to end itself, of `/open…`. */
  readonly open: Answering[] = [];

  private constructor() {
    this.server = createServer((request, response) => void this.answer(request, response));
    // an idle connection that ends by itself would be a request lost for reasons of the test
    this.server.keepAliveTimeout = 600_000;
  }

  static async start(port = 0): Promise<NumberedUpstream> {
    const upstream = new NumberedUpstream();
    await new Promise<void>((resolve, reject) => {
      upstream.server.once("error", reject);
      upstream.server.listen(port, "127.0.0.1", resolve);
    });
    return upstream;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Answers one request, also of another listener. */
  async answer(request: Asked, response: Answering): Promise<void> {
    let body = "";
    request.setEncoding("utf8");
    request.on("error", () => {});
    response.on("error", () => {});
    for await (const chunk of request) body += chunk;
    const number = Number(/^\/[a-z]\/(\d+)$/.exec(request.url ?? "")?.[1] ?? Number.NaN);
    if (request.url?.startsWith("/open") === true) {
      response.write("begun ");
      this.open.push(response);
      return;
    }
    if (Number.isNaN(number)) return void response.end("ok");
    while (this.numbers.length <= number) this.numbers.push(0);
    this.numbers[number]!++;
    response.end(`${number} ${body}`);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }
}

/** A trust domain with callers, an upstream and a folder for files. */
export class GatewayWorld {
  readonly authority: Authority;
  readonly upstream: NumberedUpstream;
  readonly web: Workload;
  readonly guest: Workload;
  readonly folder: string;
  rotations = 0;
  readonly #programs: Program[] = [];

  private constructor(authority: Authority, upstream: NumberedUpstream, web: Workload, guest: Workload) {
    this.authority = authority;
    this.upstream = upstream;
    this.web = web;
    this.guest = guest;
    this.folder = mkdtempSync(join(tmpdir(), "gateway-"));
  }

  static async start(): Promise<GatewayWorld> {
    const authority = await Authority.start({ trustDomain: DOMAIN, entries: entries(TTL_MS) });
    const [web, guest] = await Promise.all(
      ["web", "guest"].map((name) => Workload.open({ socket: authority.socketFor(name) })),
    );
    return new GatewayWorld(authority, await NumberedUpstream.start(), web!, guest!);
  }

  get file(): string {
    return join(this.folder, "gateway.yaml");
  }

  /** The configuration of a test: only web may, and retries are off. */
  config(more: Partial<GatewayInput> = {}): GatewayInput {
    return {
      status: { port: 0 },
      listen: { address: "127.0.0.1", port: 0 },
      upstreams: { up: { url: this.upstream.url, retries: { max: 0 } } },
      routes: [{ name: "up", path: "/**", upstream: "up" }],
      policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
      accessLog: { everyRefusal: true },
      ...more,
    };
  }

  /** Writes the gateway file by a rename, as careful writers do. */
  write(config: object | string): void {
    const text = typeof config === "string" ? config : `${JSON.stringify({ ...config, end: true }, null, 1)}\n`;
    writeFileSync(`${this.file}.new`, text);
    renameSync(`${this.file}.new`, this.file);
  }

  /** Starts the gateway of a configuration; resolves once it serves. */
  async gateway(
    config: GatewayInput = this.config(),
    start: () => Program = () => this.program(),
  ): Promise<GatewayProcess> {
    this.write(config);
    const program = start();
    const [, text] = await program.until(/^(\{[^\n]*"message":"gateway serves"[^\n]*\})$/m);
    const { listeners, status } = JSON.parse(text!) as { listeners: { port: number }[]; status: { port: number } };
    return new GatewayProcess(program, listeners[0]!.port, status.port);
  }

  /** Starts the command without waiting for anything. */
  program(args: readonly string[] = ["--config", this.file], env: Record<string, string> = {}): Program {
    return this.run(onThisRuntime("src/cli/main.ts", ["gateway", ...args]), env);
  }

  /** Starts a command line with the gateway's Workload API; it ends with this world. */
  run(command: readonly [string, readonly string[]], env: Record<string, string> = {}): Program {
    const all = { SPIFFE_ENDPOINT_SOCKET: this.authority.socketFor("gateway"), ...env };
    const program = new Program(command, { env: all });
    this.#programs.push(program);
    return program;
  }

  /** New SVIDs for everybody: an entry with another life gets one. */
  async rotate(): Promise<void> {
    this.rotations++;
    await this.authority.setEntries(entries(TTL_MS + (this.rotations % 2) * 60_000));
  }

  async close(): Promise<void> {
    for (const { child } of this.#programs) child.kill("SIGKILL");
    await Promise.all(this.#programs.map(({ ended }) => ended));
    await Promise.all([this.web.close(), this.guest.close()]);
    await this.upstream.close();
    await this.authority.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What `/status` says, as far as tests look. */
export interface Status {
  readonly state: string;
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
  readonly running: number;
  readonly identity: { readonly rotations: number };
  readonly listeners: readonly { readonly counters: { readonly open: number; readonly accepted: number } }[];
  readonly reload: {
    readonly counts: { readonly changed: number; readonly unchanged: number; readonly refused: number };
    readonly last?: { readonly result: string; readonly error?: string };
  };
}

/** A gateway that serves. */
export class GatewayProcess {
  readonly program: Program;
  readonly port: number;
  readonly statusPort: number;

  constructor(program: Program, port: number, statusPort: number) {
    this.program = program;
    this.port = port;
    this.statusPort = statusPort;
  }

  get pid(): number {
    return this.program.child.pid!;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  end(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    return this.program.end(signal);
  }

  /** One answer of the status port. */
  async get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.statusPort}${path}`);
    return { status: response.status, text: await response.text() };
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.get("/status")).text) as Status;
  }

  /** Waits until the status is as a test wants it. */
  async until(what: (status: Status) => boolean, timeoutMs = 60_000): Promise<Status> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const status = await this.status();
      if (what(status)) return status;
      if (performance.now() > end) assert.fail(`not within ${timeoutMs} ms: ${JSON.stringify(status)}`);
      await wait(20);
    }
  }

  /** A request as somebody: `<status> <body or reason>`. */
  async ask(who: Workload, path = "/", init: RequestInit = {}): Promise<string> {
    const response = await createFetch(who, { peer: GATEWAY })(`https://127.0.0.1:${this.port}${path}`, init);
    const text = await response.text();
    return `${response.status} ${response.status < 400 ? text : (JSON.parse(text) as { reason?: string }).reason}`;
  }

  /** Lines of its log with a message. */
  lines(message: string): Record<string, unknown>[] {
    return this.program.stdout
      .split("\n")
      .filter((line) => line.includes(`"message":${JSON.stringify(message)}`))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}
