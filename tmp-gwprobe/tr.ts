import http from "node:http"; import net from "node:net";
const rt = (globalThis as any).Bun ? "bun" : (globalThis as any).Deno ? "deno" : "node";
const up = http.createServer((q,s)=>{ if(q.url==="/t") s.writeHead(200,{trailer:"x-sum"}); else if (q.url==="/c") s.writeHead(200,{"transfer-encoding":"chunked"}); else s.writeHead(200); s.write("a"); s.addTrailers({"x-sum":"1"}); s.end(); }); await new Promise<void>(r=>up.listen(0,"127.0.0.1",()=>r()));
for (const p of ["/t","/c","/n"]) { await new Promise<void>((r)=>{ const s=net.connect((up.address() as any).port,"127.0.0.1"); let b=""; s.on("data",(d)=>b+=d); s.on("close",()=>{ console.log(rt,p,JSON.stringify(b.slice(-40))); r(); }); s.write(`GET ${p} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`); });
await new Promise<void>((r)=>http.get({port:(up.address() as any).port,path:p},(res)=>{res.resume();res.on("end",()=>{console.log(rt,"client",p,res.rawTrailers,res.trailers);r();})})); }
process.exit(0);
