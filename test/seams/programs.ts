/** Servers of the system that tests start: found or told as missing, with certificates that are SVIDs. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Workload } from "../../src/workload/index.ts";

/** The first of these that exists, where a name without a slash is looked for in `PATH`, `/usr/sbin` and what Debian uses. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", ...globSync("/usr/lib/postgresql/*/bin")];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** A folder that the server's user can read, and what it does not run as root for. */
export class Home {
  readonly path: string = mkdtempSync(join(tmpdir(), "seams-"));
  readonly #user: string | undefined;

  /** @param user who runs the server where the test is root: a server that refuses root needs one */
  constructor(user?: string) {
    this.#user = process.getuid?.() === 0 ? user : undefined;
    this.give(this.path);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Makes a file or folder the server's own. */
  give(path: string): void {
    if (this.#user === undefined) return;
    const id = (flag: string) => Number(execFileSync("id", [flag, this.#user!]).toString());
    chownSync(path, id("-u"), id("-g"));
  }

  /** Writes `svid.pem`, `key.pem` and `bundle.pem` of a workload, over those that are there. */
  async writeSvid(workload: Workload): Promise<void> {
    const svid = workload.x509.x509Svid();
    await svid.save(this.file("svid.pem"), this.file("key.pem"));
    await workload.x509.x509BundleFor(svid.id.trustDomain)!.save(this.file("bundle.pem"));
    for (const name of ["svid.pem", "key.pem", "bundle.pem"]) this.give(this.file(name));
  }

  /** The command line that runs a program as the server's user. */
  command(program: string, args: readonly string[]): [string, string[]] {
    if (this.#user === undefined) return [program, [...args]];
    return ["setpriv", [`--reuid=${this.#user}`, `--regid=${this.#user}`, "--init-groups", program, ...args]];
  }

  run(program: string, args: readonly string[]): void {
    execFileSync(...this.command(program, args), { stdio: "pipe", cwd: this.path });
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A server in a process of its own. */
export class ServerProcess {
  readonly child: ChildProcess;
  output = "";
  readonly #ended: Promise<void>;

  constructor(home: Home, program: string, args: readonly string[]) {
    this.child = spawn(...home.command(program, args), { stdio: ["ignore", "pipe", "pipe"], cwd: home.path });
    const take = (part: unknown) => {
      this.output += String(part);
    };
    this.child.stdout?.on("data", take);
    this.child.stderr?.on("data", take);
    this.#ended = new Promise((resolve) => {
      this.child.once("close", () => resolve());
      this.child.once("error", () => resolve());
    });
  }

  /** Tells it to read its files again. */
  reload(): void {
    process.kill(this.child.pid!, "SIGHUP");
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) process.kill(this.child.pid!, "SIGKILL");
    await this.#ended;
  }
}
