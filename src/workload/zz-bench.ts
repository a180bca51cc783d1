import { Workload, WorkloadApiClient } from "./index.ts";
const t0 = performance.now();
const w = await Workload.open();
const cold = performance.now() - t0;
const client = new WorkloadApiClient();
const first = await client.fetchX509Context();
console.log(w.id.uri, first.svids.map(s => s.id.uri + " " + s.hint + " " + s.leaf.publicKey.kind).join(", "), [...first.bundles.keys()]);
async function run(name: string, n: number, f: (i: number) => Promise<unknown>) {
  for (let i = 0; i < 20; i++) await f(-1 - i);
  const t: number[] = [];
  for (let i = 0; i < n; i++) { const s = performance.now(); await f(i); t.push((performance.now() - s) * 1000); }
  t.sort((a, b) => a - b);
  const q = (p: number) => Math.round(t[Math.min(n - 1, Math.floor(n * p))]!);
  console.log(`${name}: n ${n} min ${Math.round(t[0]!)} p50 ${q(0.5)} p99 ${q(0.99)} us`);
}
console.log(`cold start Workload.open ${cold.toFixed(1)} ms`);
await run("x509 fetch (2 SVIDs, validated)", 300, () => client.fetchX509Context());
await run("x509 bundles fetch", 300, () => client.fetchX509Bundles());
const salt = Math.random().toString(36).slice(2);
await run("jwt issue (new audience)", 300, (i) => client.fetchJwtSvid({ audience: `${salt}-${i}`, id: w.id }));
await run("jwt agent cache", 300, () => client.fetchJwtSvid({ audience: "same", id: w.id }));
await run("jwt cached (JwtSource)", 300, () => w.jwt.fetch({ audience: "same" }));
const { token } = await w.jwt.fetch({ audience: "x" });
console.log((await client.validateJwtSvid({ token, audience: "x" })).id.uri);
try { await client.validateJwtSvid({ token, audience: "y" }); } catch (e) { console.log(e.code, e.message); }
try { await client.fetchJwtSvid({ audience: "x", id: "spiffe://x0tta6bl4.local/foreign" }); } catch (e) { console.log(e.code, e.message); }
await client.close(); await w.close();
