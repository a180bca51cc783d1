/** Builds `dist/`: JavaScript and declarations of the package, generated code and the WebAssembly module copied, the command made executable. */
import { chmod, cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { bin, root, run } from "./lib/run.ts";

const SHEBANG = "#!/usr/bin/env node\n";

const started = performance.now();
const fresh = `${root}/dist.new-${process.pid}`;
const old = `${root}/dist.old-${process.pid}`;

try {
  const tsc = await run(bin("node"), [bin("tsc"), "-p", "tsconfig.build.json", "--outDir", fresh]);
  if (tsc.code !== 0) throw new Error(`The types do not check:\n${tsc.output}`);
  await cp(`${root}/src/gen`, `${fresh}/src/gen`, { recursive: true });
  for (const name of ["ecdsa.wasm", "package.json"]) {
    await cp(`${root}/src/crypto/wasm/${name}`, `${fresh}/src/crypto/wasm/${name}`);
  }

  const { bin: commands } = JSON.parse(await readFile(`${root}/package.json`, "utf8")) as {
    bin: Record<string, string>;
  };
  for (const target of Object.values(commands)) {
    const file = `${fresh}/${target.replace(/^\.\/dist\//, "")}`;
    const code = await readFile(file, "utf8");
    await writeFile(file, code.startsWith("#!") ? code : SHEBANG + code);
    await chmod(file, 0o755);
  }

  // Readers see the old tree or the new one, never a half-written one.
  await rename(`${root}/dist`, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(fresh, `${root}/dist`);
  console.log(`built dist in ${((performance.now() - started) / 1000).toFixed(1)} s`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await rm(fresh, { recursive: true, force: true });
  await rm(old, { recursive: true, force: true });
}
