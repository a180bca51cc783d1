/** Names of the options that opening takes, apart from what opens: bundles by URL need no client. */
import type { OptionNames } from "../base/check-options.ts";
import type { ClientOptions } from "./client.ts";
import type { OpenOptions, SourceOptions } from "./open.ts";

/** Of a client that is made for what is opened. */
export const DIAL_NAMES: OptionNames<Omit<ClientOptions, "timeoutMs">> = {
  socket: true,
  transport: true,
  keepaliveMs: true,
  redactionGraceMs: true,
  clock: true,
  logger: true,
};
export const SOURCE_NAMES: OptionNames<SourceOptions> = { ...DIAL_NAMES, client: true };
export const OPEN_NAMES: OptionNames<OpenOptions> = { timeoutMs: true, signal: true };
