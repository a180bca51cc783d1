/**
 * The command `spiffe-edge` with a window: whoever connects to the unix socket of `SOAK_WINDOW` gets one line of JSON, what
 * this process holds after a collection of its garbage.
 */
import { createServer } from "node:net";
import process from "node:process";
import { measureResources } from "../soak/resources.ts";

createServer(async (socket) => {
  socket.on("error", () => {});
  const { rss } = process.memoryUsage();
  const { heap, files } = await measureResources();
  socket.end(`${JSON.stringify({ rss, heap, files })}\n`);
}).listen(process.env.SOAK_WINDOW ?? "");

await import("../../src/cli/main.ts");
