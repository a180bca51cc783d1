import { startSpire } from "../../test/support/spire.ts";
const spire = await startSpire({ entries: [{ path: "/web", hint: "internal" }, { path: "/other", hint: "external" }] });
console.log(spire.endpoint);
process.on("SIGTERM", async () => { await spire.stop(); process.exit(0); });
setTimeout(() => {}, 1e9);
process.stdin.on("data", async (d) => {
  const c = String(d).trim();
  try {
  if (c === "restart") { await spire.restartAgent(); console.log("restarted"); }
  } catch (e) { console.log(String(e)); }
});
