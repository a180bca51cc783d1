import http2 from "node:http2"; import { listen, connect } from "../src/tls/index.ts"; import http from "node:http"; import net from "node:net";
import { World, http2Client, GATEWAY } from "../src/gateway/world.testing.ts";
const w = await World.create(); const web = await w.identity("web");
const rt = (globalThis as any).Bun ? "bun" : (globalThis as any).Deno ? "deno" : "node";
const sleep = (ms:number)=>new Promise(r=>setTimeout(r,ms));
let how="close2";
const l = await listen(await w.identity("gateway"), { address:"127.0.0.1", port:0, handler: (req:any,res:any)=>{
  if (req.url==="/hang" ) { const ev:string[]=[]; for (const e of ["aborted","close","error","end"]) req.on(e,()=>ev.push("req."+e)); for (const e of ["close","error","finish","aborted"]) res.on(e,()=>ev.push("res."+e)); (req.socket as any)?.on?.("close",()=>ev.push("sock.close")); if (req.method==="POST") req.on("data",()=>{}); (globalThis as any).ev=ev; return; }
  res.writeHead(200); res.write("half"); setTimeout(()=>{ const s=res.stream; try { if (how==="close2") s.close(2); else if (how==="destroy") s.destroy(new Error("x")); else if (how==="destroy0") s.destroy(); else if (how==="resdestroy") res.destroy(new Error("x")); else if (how==="rst") s.rstStream?.(2); else if (how==="close+destroy") { s.close(2); s.destroy(); } else if (how==="sess") s.session.destroy(); } catch(e){ console.log("threw",how,String(e)); } },20);
}});
for (how of ["close2","destroy","destroy0","resdestroy","close+destroy","sess"]) {
  const session = await http2Client(web,l.port);
  const st = session.request({":path":"/cut"}); let err:any, ended=false, got=""; st.on("error",(e:any)=>err=e.code); st.on("end",()=>ended=true); st.on("data",(d:any)=>got+=d); 
  await Promise.race([new Promise(r=>st.once("close",r)), sleep(1500)]);
  console.log(rt,"h2 cut",how,"rst",st.rstCode,"err",err,"ended",ended,"got",got); session.destroy(); await sleep(20);
}
for (const [m,txt] of [["GET","GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"],["POST","POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"]] as const) for (const kill of ["destroy","end"] as const) {
  const { socket } = await connect(web,{host:"127.0.0.1",port:l.port,peer:GATEWAY,alpn:["http/1.1"]}); socket.on("error",()=>{}); socket.write(txt); await sleep(100); socket[kill](); await sleep(400); console.log(rt,"h1",m,kill,(globalThis as any).ev.join(" ")); socket.destroy();
}
// stale client
let served = 0;
const up = http.createServer((q,s)=>{ const so:any=q.socket; if (so.served) { so.destroy(); return; } so.served=true; s.end("ok"); }); await new Promise<void>(r=>up.listen(0,"127.0.0.1",()=>r()));
class A extends http.Agent { constructor(){ super({keepAlive:true}); } createConnection(_o:any,cb:any){ const s=net.connect((up.address() as any).port,"127.0.0.1"); s.on("error",()=>{}); s.once("connect",()=>cb(null,s)); return undefined as any; } }
const agent=new A();
for (const method of ["GET","POST","POST2"]) for (let i=0;i<2;i++) { const t=performance.now(); const r=await Promise.race([new Promise((resolve)=>{ const q=http.request({agent,host:"x",method:method.slice(0,4).trim().replace("POST2","POST"),path:"/",headers:{host:"x",...(method==="GET"?{}:{"content-length":"3"})}},(res)=>{res.resume();res.on("end",()=>resolve(res.statusCode))}); q.on("error",(e:any)=>resolve("err "+e.code+" "+e.message+" reused="+q.reusedSocket)); q.on("close",()=>setTimeout(()=>resolve("closed only"),300)); if(method==="GET") q.end(); else q.once("socket",()=>{ q.flushHeaders(); if (method==="POST2") { q.write("abc"); q.end(); } else setTimeout(()=>{q.write("abc"); q.end();},50); }); }), sleep(2000).then(()=>"nothing in 2s")]); console.log(rt,"stale",method,i,r,(performance.now()-t).toFixed(0)); }
await l.close({deadlineMs:0}); process.exit(0);
