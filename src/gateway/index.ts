/**
 * The zero-trust gateway: Hono middleware that knows who calls, a server for apps behind it, and a reverse proxy that is
 * driven by one configuration file.
 *
 * @module spiffe-edge/gateway
 */
export { type ParseOptions, parseGatewayConfig } from "./config.ts";
export { loadGatewayConfig } from "./config-file.ts";
export type {
  ByteConfig,
  ByteRouteConfig,
  ByteTarget,
  ByteUpstreamConfig,
  EgressConfig,
  EgressInput,
} from "./config-tcp.ts";
export type {
  GatewayConfig,
  GatewayInput,
  ListenerConfig,
  ListenerInput,
  RouteConfig,
  RouteInput,
  UpstreamConfig,
  UpstreamInput,
} from "./config-types.ts";
export { createGateway } from "./gateway.ts";
export type { Gateway, GatewayIdentity, GatewayOptions } from "./gateway-types.ts";
export * from "./middleware/index.ts";
export { type ProxyOptions, proxy } from "./proxy.ts";
export type { Readiness } from "./readiness.ts";
export { type ServedApp, type ServeOptions, type SpiffeServer, serve } from "./serve.ts";
export { type PlainServeOptions, type PlainServer, servePlain } from "./serve-plain.ts";
export type { HealthConfig } from "./upstream/health.ts";
export type { UpstreamTarget } from "./upstream-url.ts";
