/** Channel credentials for `@grpc/grpc-js`: a channel gets its socket once the peer is verified. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { inRange, type OptionNames, onlyKnown, usage } from "../base/check-options.ts";
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import { authorizerFor, type PeerExpectation } from "./authorizers.ts";
import { connectVouched } from "./connect.ts";
import type { TlsIdentity } from "./identity.ts";

/** Options of {@link grpcCredentials}. */
export interface GrpcCredentialsOptions {
  /** Who must answer. Has no default. */
  peer: PeerExpectation;
  /** Server name to send instead of none. */
  servername?: string;
  /** Milliseconds for TLS on a connection that the channel has dialled. Default 10,000. */
  connectTimeoutMs?: number;
  clock?: Clock;
}

/** The two classes of `@grpc/grpc-js` that are needed; the module itself is one. */
export interface GrpcModule<Credentials extends object, CallCredentials> {
  readonly ChannelCredentials: abstract new () => Credentials;
  readonly CallCredentials: { createEmpty(): CallCredentials };
}

/** What a channel asks its credentials for: TLS on a socket that it has dialled. */
interface SecureConnector<CallCredentials> {
  waitForReady(): Promise<void>;
  connect(tcp: Socket): Promise<{ socket: TLSSocket; secure: true }>;
  getCallCredentials(): CallCredentials;
  destroy(): void;
}

const KNOWN: OptionNames<GrpcCredentialsOptions> = {
  peer: true,
  servername: true,
  connectTimeoutMs: true,
  clock: true,
};

/**
 * Makes channel credentials that present the own X.509-SVID and talk to the expected peer alone. The channel's HTTP/2 gets
 * a connection once TLS is done and the peer verified, with the newest SVID and bundles at that moment. A wrong peer gets
 * no byte, and calls fail with `UNAVAILABLE`, which names the reason. Call credentials are added by
 * `grpc.credentials.combineChannelCredentials`.
 *
 * A channel keeps its connection until either side's identity ends or the channel is closed.
 *
 * @param grpc the module `@grpc/grpc-js`, at least 1.13, as the program that opens the channel imports it
 * @param identity own SVID and bundles, for example a `Workload`
 * @throws SpiffeError `ERR_SPIFFE_USAGE` without a usable `peer`, for an option it does not know, and for a `grpc` that is
 *   not that module
 * @example
 * ```ts
 * import * as grpc from "@grpc/grpc-js";
 * import { Authority } from "spiffe-edge/testing";
 * import { grpcCredentials } from "spiffe-edge/tls";
 * import { Workload } from "spiffe-edge/workload";
 *
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/orders", socket: "orders" }],
 * });
 * await using orders = await Workload.open({ socket: authority.socketFor("orders") });
 * const credentials = grpcCredentials(grpc, orders, { peer: "spiffe://example.org/orders" });
 * const client = new grpc.Client("127.0.0.1:8443", credentials);
 * client.close();
 * ```
 */
export function grpcCredentials<Credentials extends object, CallCredentials>(
  grpc: GrpcModule<Credentials, CallCredentials>,
  identity: TlsIdentity,
  options: GrpcCredentialsOptions,
): Credentials {
  onlyKnown("grpcCredentials", options, KNOWN);
  const { servername, connectTimeoutMs: timeoutMs, clock } = options;
  inRange("connectTimeoutMs", timeoutMs, 1, Infinity);
  const peer = authorizerFor(options.peer);
  const { ChannelCredentials, CallCredentials } = grpc ?? {};
  if (typeof ChannelCredentials !== "function" || typeof CallCredentials?.createEmpty !== "function") {
    throw usage("Expected the module @grpc/grpc-js; got something without its credentials");
  }

  const dial = async (tcp: Socket): Promise<{ socket: TLSSocket; secure: true }> => {
    const { socket } = await connectVouched(identity, {
      socket: tcp,
      peer,
      alpn: ["h2"],
      ...(servername === undefined ? {} : { servername }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(clock === undefined ? {} : { clock }),
    });
    if (socket.alpnProtocol === "h2") return { socket, secure: true };
    socket.destroy();
    throw new SpiffeError("ERR_SPIFFE_TLS", "Expected the peer to speak HTTP/2; it chose another protocol", {
      phase: "handshake",
      hint: "Check that the peer serves HTTP/2 on this port",
    });
  };

  const Base = ChannelCredentials as unknown as new () => object;
  class PeerCredentials extends Base {
    _isSecure(): boolean {
      return true;
    }

    // Channels share connections where these are equal: another expectation is another connection (S-6).
    _equals(other: unknown): boolean {
      return other === this;
    }

    _createSecureConnector(
      _target: unknown,
      _options: unknown,
      calls?: CallCredentials,
    ): SecureConnector<CallCredentials> {
      return {
        waitForReady: async () => {},
        connect: dial,
        getCallCredentials: () => calls ?? CallCredentials.createEmpty(),
        destroy() {},
      };
    }
  }
  return new PeerCredentials() as unknown as Credentials;
}
