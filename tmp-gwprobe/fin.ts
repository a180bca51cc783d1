import { listen } from "../src/tls/index.ts"; import { World, http2Client } from "../src/gateway/world.testing.ts";
const w = await World.create(); const web = await w.identity("web");
const rt = (globalThis as any).Bun ? "bun" : (globalThis as any).Deno ? "deno" : "node"; const sleep=(ms:number)=>new Promise((r)=>setTimeout(r,ms));
for (const how of ["direct","immediate","later","destroy"]) {
const l = await listen(await w.identity("gateway"), { address:"127.0.0.1", port:0, handler: (req:any,res:any)=>{
  const st=req.stream; const f=()=>`res.wF=${res.writableFinished} res.wE=${res.writableEnded} st.wF=${st.writableFinished} st.wE=${st.writableEnded} destroyed=${st.destroyed}`;
  res.on("finish",()=>console.log("  finish",f())); res.on("close",()=>console.log("  res close",f()));
  res.writeHead(403,{"content-length":"200000"}); res.end("e".repeat(200000)); console.log("  after end",f());
  if (how==="direct") st.close(0); if (how==="immediate") setImmediate(()=>st.close(0)); if (how==="later") setTimeout(()=>{console.log("  later",f()); st.close(0)},50); if (how==="destroy") res.once("finish",()=>setImmediate(()=>st.destroy()));
}});
const session = await http2Client(web,l.port); const s=session.request({":path":"/",":method":"POST"},{endStream:false}); let got=0,closed=false,err:any; s.on("data",(d:any)=>got+=d.length); s.on("error",(e:any)=>err=e.code); s.on("close",()=>closed=true); s.end("x".repeat(1048576));
await sleep(600); console.log(rt,how,"got",got,"closed",closed,"rst",s.rstCode,err); session.destroy(); await l.close({deadlineMs:0}); }
process.exit(0);
