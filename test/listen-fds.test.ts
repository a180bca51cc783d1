/** Sockets that a supervisor opened: the command serves on them, on each runtime, and says where one can not be taken. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as dialPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Authority } from "../src/authority/index.ts";
import { ByteServer, echo } from "../src/gateway/tcp/bytes.testing.ts";
import { capabilities } from "../src/runtime/capabilities.ts";
import { connect, createFetch, listen, type TlsListener } from "../src/tls/index.ts";
import { Workload } from "../src/workload/index.ts";
import { type Ended, launcherNode, onThisRuntime, Program, root } from "./support/programs.ts";

const DOMAIN = "x0tta6bl4.local";
const GATEWAY = `spiffe://${DOMAIN}/gateway`;
const PORTS = /^ports ([\d ]+)$/m;
const SERVES = /"message":"gateway serves".*$/m;

let authority: Authority;
let web: Workload;
let home: string;
let up: ByteServer;
let far: TlsListener;
/** Ended at the end, also after a failure. */
const programs: Program[] = [];

before(async () => {
  const entries = ["gateway", "web"].map((name) => ({ id: `spiffe://${DOMAIN}/${name}`, socket: name }));
  authority = await Authority.start({ trustDomain: DOMAIN, entries });
  web = await Workload.open({ socket: authority.socketFor("web") });
  home = mkdtempSync(join(tmpdir(), "listen-fds-"));
  up = await new ByteServer(echo).start();
  far = await listen(web, { address: "127.0.0.1", port: 0, onConnection: (socket) => void socket.pipe(socket) });
  const file = `status: { port: 0 }
listen:
  - { name: mesh, address: 127.0.0.1, port: 1 }
  - { name: raw, address: 127.0.0.1, port: 2, protocol: tcp }
upstreams:
  none: { url: "http://127.0.0.1:1" }
  echo: { url: "${up.url}" }
  far: { url: "tls://127.0.0.1:${far.port}", id: "spiffe://${DOMAIN}/web" }
routes:
  - { name: none, path: "/**", upstream: none }
  - { name: raw, listen: [raw], upstream: echo }
egress:
  - { name: out, port: 3, upstream: far }
policy:
  - { rule: web, allow: { ids: ["spiffe://${DOMAIN}/web"] } }
`;
  writeFileSync(join(home, "gateway.yaml"), file);
});
after(async () => {
  for (const { child } of programs) child.kill("SIGKILL");
  await web.close();
  await authority.close();
  await up.close();
  await far.close({ deadlineMs: 0 });
  rmSync(home, { recursive: true, force: true });
});

function passing(names: string): Program {
  const gateway = onThisRuntime("src/cli/main.ts", ["gateway", "--config", join(home, "gateway.yaml")]);
  const env = { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("gateway") };
  const command = [`${root}test/support/pass-sockets.mjs`, names, ...gateway.flat()];
  const program = new Program([launcherNode, command], { env });
  programs.push(program);
  return program;
}

/** The end of one that must not serve; where it does, it is told to end. */
function refused(names: string): Promise<Ended> {
  const program = passing(names);
  void program.until(SERVES).then(
    () => program.end(),
    () => {},
  );
  return program.ended;
}

describe("sockets that were passed to the gateway", () => {
  it("are served by the listeners of their names, for requests and for bytes", async () => {
    const program = passing("raw:mesh:out");
    const [, ports = ""] = await program.until(PORTS);
    const [raw, mesh, out] = ports.split(" ").map(Number);
    const [line] = await program.until(SERVES);
    assert.match(line, new RegExp(`"name":"mesh","address":"127.0.0.1","port":${mesh}\\}`));
    assert.match(line, new RegExp(`"name":"raw","address":"127.0.0.1","port":${raw}\\}`));
    const answer = await createFetch(web, { peer: GATEWAY })(`https://127.0.0.1:${mesh}/`);
    assert.equal(answer.status, 502);
    const { socket } = await connect(web, { host: "127.0.0.1", port: raw!, peer: GATEWAY });
    const echoed = new Promise((resolve) => socket.once("data", resolve));
    socket.write("ping");
    assert.equal(String(await echoed), "ping");
    socket.destroy();
    const plain = dialPlain(out!, "127.0.0.1");
    const back = new Promise((resolve) => plain.once("data", resolve));
    plain.write("pong");
    assert.equal(String(await back), "pong");
    plain.destroy();
    const ended = await program.end("SIGTERM");
    assert.equal(ended.code, 0, ended.stderr);
  });

  it("serve the status port where the runtime can, and are refused in a sentence where it can not", async () => {
    const program = passing("mesh:raw:status:out");
    const [, ports = ""] = await program.until(PORTS);
    const status = Number(ports.split(" ")[2]);
    if (capabilities.httpOnDescriptor.value) {
      await program.until(SERVES);
      assert.equal((await fetch(`http://127.0.0.1:${status}/livez`)).status, 200);
      assert.equal((await program.end("SIGTERM")).code, 0);
    } else {
      const ended = await program.ended;
      assert.equal(ended.code, 2, ended.stdout);
      assert.match(
        ended.stderr,
        /can not serve the status port on a passed socket: .* Pass the sockets of listeners alone/,
      );
    }
  });

  it("[S-18] [S-21] are no way out where others reach them", async () => {
    const ended = await refused("mesh:raw:out=0.0.0.0");
    assert.equal(ended.code, 2, ended.stdout);
    assert.match(
      ended.stderr,
      /Expected egress out on loopback or a unix socket; the socket that was passed is at 0\.0\.0\.0/,
    );
  });

  it("of a name that no listener has start nothing", async () => {
    const ended = await refused("mesh:other");
    assert.equal(ended.code, 2, ended.stdout);
    assert.match(ended.stderr, /A socket named "other" was passed, and no listener is called so/);
  });
});
