/** The gateway configuration of the demo, in the form a gateway file has. */
import type { GatewayInput } from "../../gateway/index.ts";
import type { World } from "./world.ts";

/** What is not known before the start. */
export interface DemoSettings {
  upstreamUrl: string;
  port: number;
  statusPort: number;
}

/** One listener for certificates and tokens, one route, one allow rule per welcome caller. */
export function demoConfig(world: World, settings: DemoSettings): GatewayInput {
  const callers = [...new Map([world.web, world.cron].map((actor) => [actor.id, actor])).values()];
  return {
    status: { address: "127.0.0.1", port: settings.statusPort },
    listen: { name: "demo", address: "127.0.0.1", port: settings.port, clientCertificate: "optional" },
    upstreams: { orders: { url: settings.upstreamUrl } },
    routes: [{ name: "orders", path: "/orders/**", audience: [world.gateway.id], upstream: "orders" }],
    policy: callers.map(({ name, id }) => ({
      rule: `${name}-reads-orders`,
      allow: { ids: [id] },
      methods: ["GET"],
      routes: ["orders"],
    })),
    // the demo shows the line of each request
    accessLog: { everyRefusal: true },
    drain: { deadline: "10s" },
  };
}
