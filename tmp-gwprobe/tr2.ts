import { listen } from "../src/tls/index.ts"; import { World, rawExchange, rawRequest } from "../src/gateway/world.testing.ts";
const w = await World.create(); const web = await w.identity("web");
const rt = (globalThis as any).Bun ? "bun" : (globalThis as any).Deno ? "deno" : "node";
const l = await listen(await w.identity("gateway"), { address:"127.0.0.1", port:0, handler: (req:any,res:any)=>{
  res.writeHead(200, req.url==="/w" ? Object.assign(Object.create(null),{date:"x"}) : {});
  if (req.url==="/f") res.flushHeaders();
  res.write("a"); const t = req.url==="/null" ? Object.assign(Object.create(null),{"x-sum":"1"}) : {"x-sum":"1"}; 
  if (req.url==="/later") setTimeout(()=>{res.addTrailers(t); res.end();},20); else { res.addTrailers(t); res.end(); }
}});
for (const p of ["/","/w","/null","/f","/later"]) console.log(rt,p,JSON.stringify((await rawExchange(web,l.port,rawRequest(p))).slice(-30)));
await l.close({deadlineMs:0}); process.exit(0);
