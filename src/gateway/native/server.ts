/** What the servers of the runtimes have in common, as `servePlain` sees them. */
import type { OwnPlace } from "../../tls/listening.ts";

/** Answers a request; never throws. */
export type Answer = (request: Request) => Response | Promise<Response>;

/** A running server. */
export interface NativeServer {
  readonly address: string;
  /** 0 for a unix socket. */
  readonly port: number;
  /** Takes no new connection; settles once what runs is over. */
  stop(): Promise<void>;
  /** Ends what still runs, and tells how many requests that were, once they are over. */
  cut(): Promise<number>;
}

/** Opens a server in plaintext. */
export type OpenNative = (place: OwnPlace, answer: Answer) => Promise<NativeServer>;
