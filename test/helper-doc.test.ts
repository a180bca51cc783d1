/** docs/helper.md says what is so: its configurations are run, its lists compared. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parse, stringify } from "yaml";
import { Authority } from "../src/authority/index.ts";
import { matchesSchema } from "./support/json-schema.ts";
import { onThisRuntime, Program, root, spiffeEdge } from "./support/programs.ts";

const doc = readFileSync(`${root}docs/helper.md`, "utf8");
const SCHEMA = "src/cli/helper/helper.schema.json";
const schema = JSON.parse(readFileSync(`${root}${SCHEMA}`, "utf8"));

/** The text of the block below a comment. */
function block(name: string): string {
  const found = new RegExp(`<!-- ${name} -->\n\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(doc);
  assert.ok(found, name);
  return found[1]!;
}

let folder: string;
let authority: Authority;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "helper-doc-"));
  const entries = [{ id: "spiffe://example.org/web", socket: "web" }];
  authority = await Authority.start({ trustDomain: "example.org", entries });
});

after(async () => {
  await authority.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Writes the configuration of the document, with these values in the place of its own. */
function configure(name: string, more: Record<string, unknown>): string[] {
  const value = parse(block(`config: ${name}`));
  assert.ok(matchesSchema(value, schema), name);
  writeFileSync(join(folder, "helper.yaml"), stringify({ ...value, cert_dir: join(folder, "certs"), ...more }));
  return ["helper", "--config", join(folder, "helper.yaml")];
}

describe("docs/helper.md", () => {
  it("shows what is written by the first configuration, and its codes", async () => {
    const args = configure("first", { agent_address: authority.socketFor("web") });
    const ended = await spiffeEdge([...args, "--once"]);
    assert.equal(ended.code, 0, ended.stderr);
    const current = join(folder, "certs", "current");
    const modeOf = (name: string) => (statSync(join(current, name)).mode & 0o777).toString(8).padStart(4, "0");
    const listing = readdirSync(current)
      .sort()
      .map((name) => `${modeOf(name)} ${name}\n`);
    assert.equal(block("listing: first"), listing.join(""));
    assert.equal(
      (await spiffeEdge([...configure("first", { agent_address: "/no" }), "--once", "--timeout", "1s"])).code,
      1,
    );
    assert.equal((await spiffeEdge([...configure("first", { cert_dri: "x" }), "--once"])).code, 2);
  });

  it("shows the endpoint and the metrics of the second, and where the command finds the generation", async () => {
    const [out, script] = [join(folder, "out"), `echo "$SPIFFE_EDGE_GENERATION" > ${folder}/out`];
    const port = { listener_enabled: true, bind_port: 0 };
    const more = {
      agent_address: authority.socketFor("web"),
      cmd: "/bin/sh",
      cmd_args: ["-c", script],
      health_checks: port,
    };
    const program = new Program(onThisRuntime("src/cli/main.ts", configure("renewal", more)));
    try {
      const [, bound] = await program.until(/"port":(\d+)/);
      await program.until(/generation written/);
      const get = (path: string) => fetch(`http://127.0.0.1:${bound}${path}`);
      for (const path of ["/live", "/ready"]) assert.equal((await get(path)).status, 200, path);
      const names = [...(await (await get("/metrics")).text()).matchAll(/^# TYPE (\S+) /gm)].map(
        ([, name]) => `${name}\n`,
      );
      assert.equal(block("metrics"), names.join(""));
      while (!existsSync(out) || readFileSync(out, "utf8") === "")
        await new Promise((resolve) => setTimeout(resolve, 20));
      assert.match(readFileSync(out, "utf8"), /^\/.*\/certs\/generation-\S+\n$/);
      assert.ok(existsSync(join(folder, "certs", ".spiffe-edge-helper.lock")));
    } finally {
      await program.end();
    }
  });

  it("lists every key of the schema, with its default, and the schema is in the package", () => {
    const rows = [...doc.matchAll(/^\| (`[^|]*) \| ([^|]*) \| (.*) \|$/gm)];
    const named = rows.flatMap(([, keys = ""]) => [...keys.matchAll(/`(\w+)`/g)].map(([, key]) => key!));
    assert.deepEqual([...named].sort(), Object.keys(schema.properties).sort());
    for (const [, keys = "", shown = "", what = ""] of rows) {
      for (const [, key = ""] of keys.matchAll(/`(\w+)`/g)) {
        const { default: value, items, properties } = schema.properties[key];
        if (value !== undefined) assert.equal(shown, `\`${JSON.stringify(value)}\``, key);
        for (const inner of Object.keys(properties ?? items?.properties ?? {}))
          assert.ok(what.includes(`\`${inner}\``), inner);
      }
    }
    const { files } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { files: string[] };
    assert.ok(files.some((name) => SCHEMA.startsWith(`${name}/`)));
    assert.ok(doc.includes(`node_modules/spiffe-edge/${SCHEMA}`));
  });
});
