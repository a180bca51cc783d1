/** A program as a user writes it, for the type check of the packed declarations. */
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Hono } from "hono";
import { isSpiffeError, SpiffeId, type SpiffeUri, validateJwtSvid, verifyX509Svid } from "spiffe-edge";
import { authorize, serve, spiffe } from "spiffe-edge/gateway";
import { Policy } from "spiffe-edge/policy";
import { asPeer } from "spiffe-edge/testing";
import { createFetch, http2Options } from "spiffe-edge/tls";
import { jwtSvid, Workload } from "spiffe-edge/workload";

const orders: SpiffeUri = "spiffe://x0tta6bl4.local/orders";

export async function server(): Promise<void> {
  await using workload = await Workload.open({ timeoutMs: 5_000 });
  const app = new Hono()
    .use(spiffe(workload, { jwt: { audience: orders } }))
    .get("/orders", authorize({ ids: ["spiffe://x0tta6bl4.local/web"] }), (c) => c.json({ you: c.var.peer.id }));
  await using running = await serve(app, { workload, port: 8443 });
  await app.request("/orders", {}, asPeer("spiffe://x0tta6bl4.local/web"));
  await running.closed;
}

export async function client(workload: Workload): Promise<unknown> {
  const call = createFetch(workload, { peer: orders });
  const response = await call("https://orders.internal:8443/orders", { signal: AbortSignal.timeout(2_000) });
  return response.json();
}

// @ts-expect-error whom to trust has no default
export const careless = (workload: Workload): unknown => createFetch(workload, {});

export async function verify(workload: Workload, chain: Uint8Array[], token: string): Promise<string> {
  try {
    const { id } = await verifyX509Svid(chain, workload.x509);
    const { claims } = await validateJwtSvid(token, workload.jwt, { audience: orders });
    return `${id} ${claims.sub}`;
  } catch (error) {
    if (isSpiffeError(error, "ERR_SPIFFE_X509_VERIFY")) return error.reason ?? error.code;
    throw error;
  }
}

export const transport = (workload: Workload): Transport =>
  createGrpcTransport({
    ...http2Options(workload, { baseUrl: "https://orders.internal:8443", peer: orders }),
    interceptors: [jwtSvid(workload, { audience: orders })],
  });

export const verdict: "allow" | "deny" = Policy.compile([]).decide(undefined, { method: "GET", path: "/" }).verdict;
export const id: SpiffeId = SpiffeId.parse(orders);
