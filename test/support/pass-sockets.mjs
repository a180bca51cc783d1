/**
 * Stands for a supervisor: opens a listening socket per name, prints their ports, and runs a program with them as systemd
 * would. Node has the descriptors of its servers; the others do not show them.
 *
 *     node pass-sockets.mjs mesh:status COMMAND ARGS…
 *
 * A name with `=ADDRESS` behind it is opened there in place of loopback.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

const [names, ...command] = process.argv.slice(2);
const servers = [];
const places = names.split(":").map((one) => one.split("="));
for (const [, address = "127.0.0.1"] of places) {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  servers.push(server);
}
const ports = servers.map((server) => server.address().port);
const run = `LISTEN_PID=$$ LISTEN_FDS=${servers.length} LISTEN_FDNAMES=${places.map(([name]) => name).join(":")} exec "$@"`;
const child = spawn("sh", ["-c", run, "sh", ...command], {
  stdio: ["ignore", "inherit", "inherit", ...servers.map((server) => server._handle.fd)],
});
for (const server of servers) server.close();
process.stdout.write(`ports ${ports.join(" ")}\n`);
process.once("SIGTERM", () => child.kill("SIGTERM"));
child.once("exit", (code) => process.exit(code ?? 1));
