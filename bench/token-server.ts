/**
 * A Hono app for callers with tokens: `token-server.ts FILE HOW`. FILE holds the trust domain, its JWK set and the audiences; HOW is
 * `remembered`, `anew` (every token is verified each time), or `bare`, the runtime's own server that answers everybody. Prints
 * `PORT <port>`.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Hono } from "hono";
import { servePlain, spiffe } from "../src/gateway/index.ts";
import { JwtBundle, VerifiedTokens } from "../src/jwt/index.ts";
import { runtime } from "../src/runtime/detect.ts";
import type { TokenFixtures } from "./lib/fixtures.ts";

type Serves = { serve(options: object, fetch?: () => Response): { port?: number; addr?: { port: number } } };
const native = globalThis as unknown as { Bun: Serves; Deno: Serves };
const ok = () => new Response("ok");

async function bare(): Promise<number> {
  const options = { port: 0, hostname: "127.0.0.1" };
  if (runtime.name === "bun") return native.Bun.serve({ ...options, development: false, fetch: ok }).port!;
  if (runtime.name === "deno") return native.Deno.serve({ ...options, onListen() {} }, ok).addr!.port;
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/plain;charset=UTF-8", "content-length": "2" });
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function guarded(file: string, maxEntries: number): Promise<number> {
  const { trustDomain, jwks, audience } = JSON.parse(readFileSync(file, "utf8")) as TokenFixtures;
  const jwt = JwtBundle.fromJwks(trustDomain, JSON.stringify(jwks), "workload-api");
  const app = new Hono()
    .use(spiffe({ jwt }, { jwt: { audience, tokens: new VerifiedTokens({ maxEntries }) } }))
    .get("/orders", (c) => c.text("ok"));
  return (await servePlain(app, { port: 0, signals: [] })).port;
}

const [file = "", how = ""] = process.argv.slice(2);
const port = how === "bare" ? await bare() : await guarded(file, how === "remembered" ? 20_000 : 0);
process.stdout.write(`PORT ${port}\n`);
process.once("SIGTERM", () => process.exit(0));
