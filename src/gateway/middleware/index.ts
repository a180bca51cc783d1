/** Hono middleware: who calls, and may it? Portable: no module of a runtime is imported from here. */
export { type AuthorizeOptions, authorize, type TokenPeer } from "./authorize.ts";
export type { ForwardedOptions } from "./forwarded.ts";
export type { AssumeOptions, ForwardedEnv, SpiffeEnv, SpiffeX509Env } from "./peer-env.ts";
export { type ErrorLog, type JwtDoorOptions, type SpiffeOptions, type SpiffeSources, spiffe } from "./spiffe.ts";
