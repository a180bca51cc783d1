import http from "node:http"; import net from "node:net";
const rt = (globalThis as any).Bun ? "bun" : (globalThis as any).Deno ? "deno" : "node"; const sleep = (ms:number)=>new Promise(r=>setTimeout(r,ms));
let n=0, arrivals=0, gone=0; const up = http.createServer((q,s)=>{ if (q.url==="/ok") return void s.end("ok"); arrivals++; s.on("close",()=>{gone++}); if (q.url==="/ev") { s.writeHead(200); s.write("a"); } }); up.on("connection",()=>n++); await new Promise<void>(r=>up.listen(0,"127.0.0.1",()=>r()));
let lastSock:any;
class A extends http.Agent { constructor(o:any){ super(o); } createConnection(_o:any,cb:any){ const s=net.connect((up.address() as any).port,"127.0.0.1"); lastSock=s; s.on("error",()=>{}); s.once("connect",()=>cb(null,s)); return undefined as any; } }
for (const how of ["destroy","destroyErr","sock","abort"]) for (const path of ["/hang","/ev"]) for (const ka of [true,false]) for (const warm of [true,false]) {
  const agent=new A({keepAlive:ka}); if (warm) { await new Promise((r)=>http.request({agent,host:"x",path:"/ok"},(res)=>{res.resume();res.on("end",r)}).end()); await sleep(20);} arrivals=0; gone=0; const c0=n;
  const q:any=http.request({agent,host:"x",path},(res)=>{res.resume(); res.on("error",()=>{});}); let err:any; q.on("error",(e:any)=>err=e.code); q.end(); await sleep(50);
  const s=q.socket; if (how==="destroy") q.destroy(); else if (how==="destroyErr") q.destroy(new Error("bye")); else if (how==="abort") q.abort(); else { q.destroy(); s?.destroy?.(); lastSock.destroy(); }
  await sleep(100); console.log(rt,how,path,"ka",ka,"warm",warm,"arrivals",arrivals,"gone",gone,"newconns",n-c0,"err",err);
}
process.exit(0);
