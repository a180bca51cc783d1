/**
 * A fresh real SPIRE for one test run: a server and an agent in a directory of their own, on free ports.
 *
 * Works on Node, Bun and Deno. Everything ends with `stop()`, and with the process at the latest.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { freePort } from "./ports.ts";
import { findSpire, type SpireBinaries } from "./spire-binaries.ts";

/** One registration entry; the caller's uid is its selector, so every entry matches this process. */
export interface SpireEntry {
  /** Path of the SPIFFE ID, such as `/orders`. */
  path: string;
  /** By which a workload tells the SVIDs of several entries apart. */
  hint?: string;
  x509TtlSeconds?: number;
  jwtTtlSeconds?: number;
  dnsNames?: readonly string[];
  /** Trust domains whose bundles the workload receives too. */
  federatesWith?: readonly string[];
  admin?: boolean;
}

export interface SpireOptions {
  entries: readonly SpireEntry[];
  /** Default: `x0tta6bl4.local`. */
  trustDomain?: string;
  /** How often the server reads new entries and the agent asks for them, in milliseconds; default 250. */
  syncIntervalMs?: number;
  /** Lives of SVIDs whose entry gives none, in seconds. */
  x509TtlSeconds?: number;
  jwtTtlSeconds?: number;
  /** Key of the X.509 and JWT authorities; default `ec-p256`. */
  keyType?: "ec-p256" | "ec-p384" | "rsa-2048" | "rsa-4096";
  /** A root, PEM, that signs the server's CA: every SVID then has an intermediate. */
  upstream?: { readonly certPem: string; readonly keyPem: string };
}

export interface Spire {
  readonly trustDomain: string;
  /** Value for `SPIFFE_ENDPOINT_SOCKET`: the agent's Workload API. */
  readonly endpoint: string;
  readonly directory: string;
  readonly agentSocket: string;
  readonly adminSocket: string;
  readonly serverSocket: string;
  readonly serverPort: number;
  /** Registers one more entry and gives its id; the agent knows it after its next sync. */
  createEntry(entry: SpireEntry): Promise<string>;
  deleteEntry(entryId: string): Promise<void>;
  /** Resolves when the agent hands out exactly these paths' SVIDs to this process. */
  waitForIds(paths: readonly string[], timeoutMs?: number): Promise<void>;
  /** Runs a command of the server's or the agent's own program and gives its standard output. */
  server(...args: string[]): Promise<string>;
  agent(...args: string[]): Promise<string>;
  /** Ends the agent process, by SIGTERM unless said otherwise, and starts it anew with the same data. */
  restartAgent(signal?: NodeJS.Signals): Promise<void>;
  /** What server and agent have logged. */
  log(): string;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const SYNC_MS = 250;
const START_MS = 60_000;
const STOP_MS = 5_000;
/** Longest path of a Unix socket on Linux. */
const SOCKET_PATH_BYTES = 107;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function command(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { timeout: 60_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = `${stdout}${stderr}`.trim();
      reject(
        new Error(`${program.split("/").at(-1)} ${args.slice(0, 2).join(" ")}: ${said === "" ? error.message : said}`),
      );
    });
  });
}

/** A server or agent process with its log. */
class Daemon {
  readonly name: string;
  #log = "";
  #child: ChildProcess;
  #ended: Promise<void>;
  #code: string | undefined;

  constructor(program: string, args: readonly string[]) {
    this.name = program.split("/").at(-1) ?? program;
    const child = spawn(program, [...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    running.add(child);
    const keep = (text: string) => {
      this.#log += text;
    };
    child.stdout?.setEncoding("utf8").on("data", keep);
    child.stderr?.setEncoding("utf8").on("data", keep);
    this.#ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.#code ??= how;
        running.delete(child);
        resolve();
      };
      child.once("exit", (code, signal) => end(signal ?? `code ${code}`));
      child.once("error", (error) => end(error.message));
    });
  }

  get log(): string {
    return this.#log;
  }

  /** Tries until the probe succeeds; fails early when the process ends. */
  async until(what: string, probe: () => Promise<unknown>): Promise<void> {
    const deadline = performance.now() + START_MS;
    let last: unknown;
    while (performance.now() < deadline) {
      if (this.#code !== undefined) throw new Error(`${this.name} ended with ${this.#code}:\n${this.#log}`);
      try {
        await probe();
        return;
      } catch (error) {
        last = error;
        await wait(20);
      }
    }
    throw new Error(`${this.name}: ${what} did not come within ${START_MS / 1000} s: ${last}\n${this.#log}`);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#code !== undefined) return;
    this.#child.kill(signal);
    const hard = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    await this.#ended;
    clearTimeout(hard);
  }
}

function serverConfig(d: string, port: number, trustDomain: string, options: SpireOptions): string {
  const keyType = options.keyType ?? "ec-p256";
  return `server {
  bind_address = "127.0.0.1"
  bind_port = "${port}"
  socket_path = "${d}/server/api.sock"
  trust_domain = "${trustDomain}"
  data_dir = "${d}/server"
  log_level = "INFO"
  ca_ttl = "24h"
  ca_key_type = "${keyType}"
  default_x509_svid_ttl = "${options.x509TtlSeconds ?? 3600}s"
  default_jwt_svid_ttl = "${options.jwtTtlSeconds ?? 300}s"
  experimental { cache_reload_interval = "${options.syncIntervalMs ?? SYNC_MS}ms" }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${d}/server/ds.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
${options.upstream === undefined ? "" : upstreamConfig(d)}}
`;
}

function upstreamConfig(d: string): string {
  return `  UpstreamAuthority "disk" {
    plugin_data { cert_file_path = "${d}/upstream.pem" key_file_path = "${d}/upstream.key" }
  }
`;
}

function agentConfig(d: string, port: number, trustDomain: string, options: SpireOptions): string {
  return `agent {
  data_dir = "${d}/agent"
  server_address = "127.0.0.1"
  server_port = "${port}"
  socket_path = "${d}/agent/api.sock"
  admin_socket_path = "${d}/admin/api.sock"
  trust_bundle_path = "${d}/bundle.pem"
  trust_domain = "${trustDomain}"
  log_level = "INFO"
  experimental { sync_interval = "${options.syncIntervalMs ?? SYNC_MS}ms" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "${d}/agent" } }
  WorkloadAttestor "unix" { plugin_data {} }
}
`;
}

/** One entry in the form that `spire-server entry create -data` reads. */
function entryJson(entry: SpireEntry, trustDomain: string, parent: string): Record<string, unknown> {
  const json: Record<string, unknown> = {
    spiffe_id: `spiffe://${trustDomain}${entry.path}`,
    parent_id: parent,
    selectors: [{ type: "unix", value: `uid:${process.getuid?.() ?? 0}` }],
  };
  if (entry.hint !== undefined) json.hint = entry.hint;
  if (entry.x509TtlSeconds !== undefined) json.x509_svid_ttl = entry.x509TtlSeconds;
  if (entry.jwtTtlSeconds !== undefined) json.jwt_svid_ttl = entry.jwtTtlSeconds;
  if (entry.dnsNames !== undefined) json.dns_names = entry.dnsNames;
  if (entry.federatesWith !== undefined) json.federates_with = entry.federatesWith.map((td) => `spiffe://${td}`);
  if (entry.admin === true) json.admin = true;
  return json;
}

async function launch(binaries: SpireBinaries, options: SpireOptions): Promise<Spire> {
  const trustDomain = options.trustDomain ?? "x0tta6bl4.local";
  const parent = `spiffe://${trustDomain}/node1`;
  const base = Buffer.byteLength(tmpdir()) > SOCKET_PATH_BYTES - 40 ? "/tmp" : tmpdir();
  const directory = await mkdtemp(`${base}/spire-`);
  await chmod(directory, 0o700);
  const daemons: Daemon[] = [];
  let closed: Promise<void> | undefined;
  const stop = () => {
    closed ??= (async () => {
      for (const daemon of daemons.toReversed()) await daemon.stop();
      await rm(directory, { recursive: true, force: true });
    })();
    return closed;
  };

  try {
    for (const name of ["server", "agent", "admin"]) await mkdir(`${directory}/${name}`);
    const serverPort = await freePort();
    const serverSocket = `${directory}/server/api.sock`;
    const agentSocket = `${directory}/agent/api.sock`;
    const adminSocket = `${directory}/admin/api.sock`;
    await writeFile(`${directory}/server.conf`, serverConfig(directory, serverPort, trustDomain, options));
    if (options.upstream !== undefined) {
      await writeFile(`${directory}/upstream.pem`, options.upstream.certPem);
      await writeFile(`${directory}/upstream.key`, options.upstream.keyPem, { mode: 0o600 });
    }
    await writeFile(`${directory}/agent.conf`, agentConfig(directory, serverPort, trustDomain, options));

    const server = (...args: string[]) => command(binaries.server, [...args, "-socketPath", serverSocket]);
    const agent = (...args: string[]) => command(binaries.agent, [...args, "-socketPath", agentSocket]);
    const writeEntries = async (entries: readonly SpireEntry[]): Promise<string[]> => {
      const file = `${directory}/entries.json`;
      await writeFile(file, JSON.stringify({ entries: entries.map((e) => entryJson(e, trustDomain, parent)) }));
      const answer = JSON.parse(await server("entry", "create", "-output", "json", "-data", file)) as {
        results: { status: { code: number; message: string }; entry?: { id: string } }[];
      };
      return answer.results.map(({ status, entry }) => {
        if (status.code !== 0 || entry === undefined) throw new Error(`entry create: ${status.message}`);
        return entry.id;
      });
    };
    const idsOfAgent = async (): Promise<string[]> => {
      const answer = JSON.parse(await agent("api", "fetch", "x509", "-output", "json")) as {
        svids: { spiffe_id: string }[];
      };
      return answer.svids.map((svid) => svid.spiffe_id);
    };

    const serverDaemon = new Daemon(binaries.server, ["run", "-config", `${directory}/server.conf`]);
    daemons.push(serverDaemon);
    await serverDaemon.until("the server API", () => server("healthcheck"));
    await writeFile(`${directory}/bundle.pem`, await server("bundle", "show"));
    if (options.entries.length > 0) await writeEntries(options.entries);
    const token = JSON.parse(await server("token", "generate", "-spiffeID", parent, "-output", "json")) as {
      value: string;
    };

    const startAgent = async (...extra: string[]): Promise<Daemon> => {
      const daemon = new Daemon(binaries.agent, ["run", "-config", `${directory}/agent.conf`, ...extra]);
      daemons.push(daemon);
      await daemon.until("the Workload API", () => agent("healthcheck"));
      return daemon;
    };
    let agentDaemon = await startAgent("-joinToken", token.value);

    const waitForIds = async (paths: readonly string[], timeoutMs: number = START_MS): Promise<void> => {
      const wanted = paths.map((path) => `spiffe://${trustDomain}${path}`).sort();
      const deadline = performance.now() + timeoutMs;
      let seen = "";
      do {
        seen = await idsOfAgent().then(
          (ids) => ids.sort().join(" "),
          (error: Error) => error.message,
        );
        if (seen === wanted.join(" ")) return;
        await wait(50);
      } while (performance.now() < deadline);
      throw new Error(`The agent gives ${seen}, not ${wanted.join(" ")}\n${agentDaemon.log}`);
    };
    if (options.entries.length > 0) await waitForIds(options.entries.map((entry) => entry.path));

    return {
      trustDomain,
      endpoint: `unix://${agentSocket}`,
      directory,
      agentSocket,
      adminSocket,
      serverSocket,
      serverPort,
      async createEntry(entry) {
        return (await writeEntries([entry]))[0]!;
      },
      async deleteEntry(entryId) {
        await server("entry", "delete", "-entryID", entryId);
      },
      waitForIds,
      server,
      agent,
      async restartAgent(signal) {
        await agentDaemon.stop(signal);
        agentDaemon = await startAgent();
      },
      log: () => daemons.map(({ name, log }) => `--- ${name}\n${log}`).join("\n"),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Starts a server and an agent, registers the entries and waits until the agent hands out their SVIDs.
 *
 * @throws Error when the programs are not built, or with their logs when one does not come up
 */
export async function startSpire(options: SpireOptions): Promise<Spire> {
  const binaries = findSpire();
  if (binaries === undefined) throw new Error("spire-server and spire-agent are not built: npm run spire:build");
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(binaries, options);
    } catch (error) {
      // Another process may take the free port between the look and the bind.
      if (attempt === 3 || !String(error).includes("address already in use")) throw error;
    }
  }
}

/** Why SPIRE tests can not run here, for `skipMissing`; `undefined` when they can. */
export function spireMissing(): string | undefined {
  return findSpire() === undefined ? "SPIRE is not built; npm run spire:build builds it" : undefined;
}
