/** A TLS handshake with whoever answers, to see what is presented. Nothing is shown of this side, and nothing is sent. */
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { SpiffeError } from "../../base/index.ts";
import { denoNetFlag, isDenoRefusal } from "../../runtime/deno-permission.ts";
import { presentedChain } from "../../tls/chain.ts";
import { printable } from "../printable.ts";
import { inspectChain } from "./chain.ts";
import { type Outcome, refused } from "./outcome.ts";
import type { TrustOptions } from "./trust.ts";

/** Where to dial. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:https:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+):(\d{1,5})\/?$/;

/** Reads `host:port`, `[::1]:port` or `https://host:port`. */
export function addressOf(text: string): Address | undefined {
  const [, host, port] = ADDRESS.exec(text) ?? [];
  if (host === undefined || !(Number(port) > 0 && Number(port) <= 65_535)) return undefined;
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/** Shows what a server presents, and verifies it. */
export async function inspectHost(address: Address, options: TrustOptions): Promise<Outcome> {
  const { protocol, alpn, chain } = await handshake(address, options.timeout);
  const head = `handshake  ${address.host}:${address.port}  ${protocol}, ${alpn === "" ? "no protocol chosen" : printable(alpn)}`;
  const old = protocol === "TLSv1.3" ? [] : ["           this package dials TLS 1.3 only"];
  if (!chain.ok) return refused([head, ...old], chain);
  const outcome = await inspectChain(chain.value, options);
  return { ...outcome, lines: [head, ...old, ...outcome.lines] };
}

interface Seen {
  readonly protocol: string;
  readonly alpn: string;
  readonly chain: ReturnType<typeof presentedChain>;
}

function handshake({ host, port }: Address, timeoutMs: number): Promise<Seen> {
  const at = `${host}:${port}`;
  return new Promise((resolve, reject) => {
    let socket: TLSSocket | undefined;
    const fail = (error: SpiffeError) => {
      clearTimeout(timer);
      socket?.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      fail(
        new SpiffeError("ERR_SPIFFE_TIMEOUT", `No TLS handshake with ${at} within ${timeoutMs} ms`, {
          phase: "handshake",
        }),
      );
    }, timeoutMs);
    const broken = (cause: Error) => {
      const sentence = isDenoRefusal(cause)
        ? `Deno does not let this program dial ${at}. Run it with ${denoNetFlag(host, port)}`
        : `Expected a TLS handshake with ${at}: ${cause.message}`;
      fail(
        new SpiffeError(isDenoRefusal(cause) ? "ERR_SPIFFE_PERMISSION" : "ERR_SPIFFE_TLS", sentence, {
          phase: "handshake",
          cause,
        }),
      );
    };
    try {
      socket = connect({
        host,
        port,
        // Everything is taken here, to be shown: the verdict is made from the presented bytes.
        rejectUnauthorized: false,
        minVersion: "TLSv1.2",
        ALPNProtocols: ["h2", "http/1.1"],
        ...(isIP(host) === 0 && { servername: host }),
      });
    } catch (error) {
      return broken(error as Error);
    }
    socket.on("error", broken);
    socket.once("close", () => broken(new Error("closed by the peer")));
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      const chain = presentedChain(socket!);
      const { alpnProtocol } = socket!;
      resolve({
        protocol: socket!.getProtocol() ?? "TLS",
        alpn: typeof alpnProtocol === "string" ? alpnProtocol : "",
        chain,
      });
      socket!.destroy();
    });
  });
}
