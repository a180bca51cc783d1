/**
 * Builds `spire-server` and `spire-agent` for the tests into `${XDG_CACHE_HOME:-~/.cache}/spiffe-edge/spire-<version>/bin`.
 *
 * Does nothing when both are there. `SPIRE_BIN_DIR` names a directory that holds them already.
 */
import { copyFile, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { findSpire, SPIRE_VERSION, spireDirectory } from "../test/support/spire-binaries.ts";
import { root, run } from "./lib/run.ts";

const NEEDED: readonly [number, number] = [1, 26];

async function build(): Promise<void> {
  const there = findSpire();
  if (there !== undefined) return console.log(`SPIRE ${SPIRE_VERSION} is in ${there.directory}`);
  if (process.env.SPIRE_BIN_DIR !== undefined && process.env.SPIRE_BIN_DIR !== "") {
    throw new Error(`SPIRE_BIN_DIR=${process.env.SPIRE_BIN_DIR} holds no spire-server and spire-agent`);
  }

  const go = await run("go", ["env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" } });
  const version = /^go(\d+)\.(\d+)/.exec(go.stdout.trim());
  const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
  if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
    const found = version === null ? "none was found" : `found ${go.stdout.trim()}`;
    throw new Error(
      `Building SPIRE needs Go ${NEEDED.join(".")} or newer (${found}); or set SPIRE_BIN_DIR to built binaries`,
    );
  }

  const target = spireDirectory();
  console.log(`building SPIRE ${SPIRE_VERSION} into ${target}; the first time takes about ten minutes`);
  // Built beside the source of nothing else: the module file is copied, so that the checkout stays as it is.
  const work = await mkdtemp(`${tmpdir()}/spiffe-edge-spire-`);
  try {
    for (const file of ["go.mod", "go.sum"]) await copyFile(`${root}/test/spire/${file}`, `${work}/${file}`);
    const built = await run("go", ["install", "tool"], {
      cwd: work,
      env: { GOBIN: `${work}/bin`, GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly", CGO_ENABLED: "1" },
      timeoutMs: 3_600_000,
      live: true,
    });
    if (built.code !== 0) throw new Error(`go install ended with code ${built.code}`);
    await mkdir(target, { recursive: true });
    for (const name of ["spire-agent", "spire-server"]) {
      // Copied first, renamed last: whoever looks finds a whole program or none.
      await copyFile(`${work}/bin/${name}`, `${target}/.${name}-${process.pid}`);
      await rename(`${target}/.${name}-${process.pid}`, `${target}/${name}`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  if (findSpire() === undefined) throw new Error(`The build went through, but ${target} lacks a program`);
  console.log(`SPIRE ${SPIRE_VERSION} is in ${target}`);
}

try {
  await build();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
