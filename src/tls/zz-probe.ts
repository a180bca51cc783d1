import { TestCa } from "/work/main/src/authority/test-ca.ts"; import { shown, identityOf } from "/work/main/src/tls/wire.testing.ts";
import { listen, http2Options } from "/work/main/src/tls/index.ts"; import http2 from "node:http2"; import net from "node:net";
import { LateSocket } from "./late-socket.ts";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";
const rt = process.versions.bun ? "bun" : process.versions.deno ? "deno" : "node";
process.on("uncaughtException", (e) => console.log("UNCAUGHT", e));
process.on("unhandledRejection", (e) => console.log("UNHANDLED", e));
const ca = await TestCa.create(); const web = await identityOf("spiffe://example.org/web", ca); const ORDERS = "spiffe://example.org/orders";
const w = shown(await ca.issue({ id: "spiffe://example.org/web" }));
const handler: any = connectNodeAdapter({ routes: (router) => router.service(SpiffeWorkloadAPI, { validateJWTSVID: (request) => ({ spiffeId: `seen ${request.audience}` }), async *fetchX509Bundles() { for (let i = 0; i < 3; i++) yield { bundles: { [`td${i}`]: new Uint8Array(50_000) } }; } }) });
const server = await listen(await identityOf(ORDERS, ca), { port: 0, address: "127.0.0.1", handler });
const plain = http2.createServer({}, handler); await new Promise<void>((r) => plain.listen(0, "127.0.0.1", r)); const pport = (plain.address() as any).port;
const dialPlain = () => new Promise<net.Socket>((r) => { const s = net.connect(pport, "127.0.0.1", () => r(s)); });
const url = `https://127.0.0.1:${server.port}`;
const kinds: any = {
  "plain tcp": () => createGrpcTransport({ baseUrl: `http://127.0.0.1:${pport}` }),
  "plain late": () => createGrpcTransport({ baseUrl: `http://127.0.0.1:${pport}`, nodeOptions: { createConnection: () => new LateSocket(dialPlain()) } as any }),
  "tls own": () => createGrpcTransport({ baseUrl: url, nodeOptions: { rejectUnauthorized: false, ...w } }),
  "tls late": () => createGrpcTransport({ baseUrl: url, nodeOptions: http2Options(web, { peer: ORDERS }) as any }),
};
const lim = (p: Promise<any>) => Promise.race([p.catch((e) => "ERR " + e.message), new Promise((r) => setTimeout(r, 3000, "TIMEOUT"))]);
for (const [name, mk] of Object.entries(kinds) as any) {
  const c = createClient(SpiffeWorkloadAPI, mk());
  console.log(rt, name, "unary", await lim(c.validateJWTSVID({ audience: "a", svid: "x" }).then((r: any) => r.spiffeId)));
  console.log(rt, name, "stream", await lim((async () => { let n = 0; for await (const m of c.fetchX509Bundles({})) n++; return n; })()));
  console.log(rt, name, "20", JSON.stringify(await Promise.all(Array.from({ length: 20 }, () => lim(createClient(SpiffeWorkloadAPI, mk()).validateJWTSVID({ audience: "a", svid: "x" }).then((r: any) => "ok")))).then((x) => [...new Set(x)])));
}
process.exit();
