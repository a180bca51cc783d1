import assert from "node:assert/strict";
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { skipWhen } from "../../test/support/skip.ts";
import { runtime } from "../runtime/detect.ts";
import { Authority } from "./index.ts";

const web = { id: "spiffe://example.org/web", socket: "web" };
const REFUSED = { code: "ERR_SPIFFE_AUTHORITY" };

function start(directory?: string): Promise<Authority> {
  const options = { trustDomain: "example.org", entries: [web] };
  return Authority.start(directory === undefined ? options : { ...options, directory });
}

/** Runs a module's text in a new process of this runtime. */
function child(script: string, options: SpawnOptions = {}): ChildProcess {
  const args = {
    node: ["--conditions=spiffe-edge-source", "--input-type=module", "--eval", script],
    bun: ["--conditions=spiffe-edge-source", "--eval", script],
    deno: ["eval", "--no-check", "--ext=ts", script],
    workerd: [],
  }[runtime.name];
  return spawn(process.execPath, args, { ...options, stdio: ["ignore", "pipe", "inherit"] });
}

/** A process that serves an authority in this directory until it is killed, or ends it in one of two ways. */
function authorityProcess(directory: string, then: "stay" | "close" | "exit"): ChildProcess {
  const module = JSON.stringify(fileURLToPath(new URL("./index.ts", import.meta.url)));
  return child(`
    const { Authority } = await import(${module});
    const authority = await Authority.start(${JSON.stringify({ trustDomain: "example.org", entries: [web], directory })});
    console.log("ready");
    if (${then === "close"}) await authority.close();
    if (${then === "exit"}) process.exit(0);
  `);
}

function firstLine(process: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    process.stdout?.setEncoding("utf8").once("data", (text: string) => resolve(text.trim()));
    process.once("close", (code) => reject(new Error(`the process ended with ${code} before it wrote anything`)));
  });
}

function ended(process: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    process.once("exit", (code, signal) => resolve(signal ?? code ?? "unknown"));
  });
}

/** "connected" or the error code. */
function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve("connected");
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.on("error", () => {}).resume());
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}

describe("sockets of the authority", () => {
  let base: string;
  before(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), "authority-")));
  });
  after(async () => {
    await rm(base, { recursive: true, force: true });
  });

  it("[S-28] are in a fresh directory of mode 0700, and go away with it", async () => {
    const [one, two] = await Promise.all([start(), start()]);
    assert.notEqual(one.directory, two.directory);
    for (const authority of [one, two]) {
      assert.equal((await lstat(authority.directory)).mode & 0o777, 0o700);
      const socket = authority.socketFor("web").slice("unix://".length);
      assert.equal((await lstat(socket)).mode & 0o777, 0o600);
      assert.equal(await probe(socket), "connected");
    }
    await Promise.all([one.close(), two.close(), one.close()]);
    assert.equal(existsSync(one.directory), false);
    assert.equal(existsSync(two.directory), false);
  });

  it("[S-28] takes a named directory, new or of mode 0700, and leaves one that was there", async () => {
    const made = await start(join(base, "new", "deep"));
    assert.equal((await stat(made.directory)).mode & 0o777, 0o700);
    await made.close();
    assert.equal(existsSync(made.directory), false);
    await mkdir(join(base, "own"), { mode: 0o700 });
    const taken = await start(join(base, "own"));
    await taken.close();
    assert.deepEqual(await readdir(taken.directory), []);
  });

  it("[S-28] refuses a directory that others can enter, and takes it once they cannot", async () => {
    const open = join(base, "open");
    await mkdir(open);
    for (const mode of [0o750, 0o701, 0o720]) {
      await chmod(open, mode);
      await assert.rejects(start(open), REFUSED, mode.toString(8));
    }
    assert.deepEqual(await readdir(open), []);
    await chmod(open, 0o700);
    await (await start(open)).close();
  });

  const others = "[S-28] refuses a directory of another user, and takes it once it is this one's";
  it(
    others,
    skipWhen(others, process.getuid?.() === 0 ? undefined : "needs root, to give a directory away"),
    async () => {
      const directory = join(base, "others");
      await mkdir(directory, { mode: 0o700 });
      await chown(directory, 65_534, 65_534);
      await assert.rejects(start(directory), REFUSED);
      assert.deepEqual(await readdir(directory), []);
      await chown(directory, 0, 0);
      await (await start(directory)).close();
    },
  );

  it("are below XDG_RUNTIME_DIR by default, which has to be a directory", async () => {
    const before = process.env.XDG_RUNTIME_DIR;
    await writeFile(join(base, "file"), "");
    try {
      for (const wrong of ["file", "nowhere"]) {
        process.env.XDG_RUNTIME_DIR = join(base, wrong);
        await assert.rejects(start(), REFUSED, wrong);
      }
      process.env.XDG_RUNTIME_DIR = base;
      const authority = await start();
      assert.equal(dirname(authority.directory), base);
      await authority.close();
    } finally {
      if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
      else process.env.XDG_RUNTIME_DIR = before;
    }
  });

  it("leave nothing behind in the process, and what others put beside them", async () => {
    const listeners = process.listenerCount("exit");
    const authority = await start(join(base, "shared"));
    assert.equal(process.listenerCount("exit"), listeners + 1);
    await writeFile(join(authority.directory, "note"), "mine");
    await authority.close();
    assert.deepEqual(await readdir(authority.directory), ["note"]);
    assert.equal(process.listenerCount("exit"), listeners);
  });

  it("[A-19] refuses a symbolic link anywhere in the path and leaves it alone", async () => {
    const real = join(base, "real");
    await mkdir(real, { mode: 0o700 });
    await symlink(real, join(base, "link"));
    for (const path of [join(base, "link"), join(base, "link", "below"), join(base, "dangling")]) {
      if (path.endsWith("dangling")) await symlink(join(base, "nowhere"), path);
      await assert.rejects(start(path), REFUSED, path);
    }
    assert.deepEqual(await readdir(real), []);
    assert.ok((await lstat(join(base, "link"))).isSymbolicLink());
    assert.equal(existsSync(join(base, "nowhere")), false);
    await (await start(join(real, "below"))).close();
  });

  it("[A-19] leaves a prepared link or file in place of the socket alone", async () => {
    const directory = join(base, "prepared");
    await mkdir(directory, { mode: 0o700 });
    const socket = join(directory, "web.sock");
    await symlink(join(base, "elsewhere"), socket);
    await assert.rejects(start(directory), REFUSED);
    assert.ok((await lstat(socket)).isSymbolicLink());
    await rm(socket);
    await writeFile(socket, "mine");
    await assert.rejects(start(directory), REFUSED);
    assert.ok((await lstat(socket)).isFile());
    await rm(socket);
    await (await start(directory)).close();
  });

  it("[A-19] never takes a live socket, foreign or of another authority", async () => {
    const directory = join(base, "live");
    await mkdir(directory, { mode: 0o700 });
    const socket = join(directory, "web.sock");
    const foreign = await listen(socket);
    await assert.rejects(start(directory), REFUSED);
    assert.equal(await probe(socket), "connected");
    await new Promise((resolve) => foreign.close(resolve));
    await rm(socket, { force: true });

    const owner = await start(directory);
    await assert.rejects(start(directory), REFUSED);
    assert.equal(await probe(socket), "connected");
    await owner.close();
    const both = await Promise.allSettled([start(directory), start(directory)]);
    const won = both.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    assert.equal(won.length, 1);
    assert.equal(await probe(socket), "connected");
    await won[0]?.close();
  });

  it("[A-19] starts after kill -9 of another authority in the same directory, not before", async () => {
    const directory = join(base, "killed");
    const owner = authorityProcess(directory, "stay");
    const end = ended(owner);
    assert.equal(await firstLine(owner), "ready");
    await assert.rejects(start(directory), REFUSED);
    assert.equal(await probe(join(directory, "web.sock")), "connected");
    owner.kill("SIGKILL");
    assert.equal(await end, "SIGKILL");
    assert.equal(await probe(join(directory, "web.sock")), "ECONNREFUSED");
    const heir = await start(directory);
    assert.equal(await probe(join(directory, "web.sock")), "connected");
    await heir.close();
    assert.equal(existsSync(directory), false);
  });

  for (const how of ["close", "exit"] as const) {
    const title = how === "close" ? "lets the process end by itself after close" : "cleans up at process.exit() too";
    it(title, async () => {
      const owner = authorityProcess(join(base, "short"), how);
      const end = ended(owner);
      assert.equal(await firstLine(owner), "ready");
      assert.equal(await end, 0);
      assert.equal(existsSync(join(base, "short")), false);
    });
  }

  it("[S-28] refuses a socket path above 107 bytes and takes one of 107", async () => {
    const room = 107 - "/web.sock".length - base.length - 1;
    await assert.rejects(start(join(base, "d".repeat(room + 1))), REFUSED);
    const authority = await start(join(base, "d".repeat(room)));
    assert.equal(authority.socketFor("web").length - "unix://".length, 107);
    await authority.close();
    assert.deepEqual(
      (await readdir(base)).filter((name) => name.startsWith("ddd")),
      [],
    );
  });

  const other = "[A-19] lets no other user open a socket";
  const cannot = process.getuid?.() === 0 ? undefined : "needs root, to become another user";
  it(other, skipWhen(other, cannot), async () => {
    const authority = await start();
    const open = join(base, "for-all.sock");
    const server = await listen(open);
    await chmod(base, 0o755);
    await chmod(open, 0o777);
    const asNobody = async (path: string) => {
      const script = `
        const { connect } = await import("node:net");
        const socket = connect(${JSON.stringify(path)});
        socket.once("connect", () => { console.log("connected"); socket.destroy(); });
        socket.once("error", (error) => console.log(error.code));
      `;
      const nobody = 65_534;
      return firstLine(child(script, { uid: nobody, gid: nobody, cwd: "/", env: { HOME: "/", TMPDIR: tmpdir() } }));
    };
    assert.equal(await asNobody(open), "connected");
    assert.equal(await asNobody(authority.socketFor("web").slice("unix://".length)), "EACCES");
    assert.equal(await asNobody(join(authority.directory, "no.sock")), "EACCES");
    await new Promise((resolve) => server.close(resolve));
    await authority.close();
  });
});
