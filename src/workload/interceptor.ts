/** A Connect interceptor that sends the workload's JWT-SVID with each call. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import { checkTokenTarget, otherToken } from "./bearer.ts";
import type { JwtSvidSource } from "./jwt-source.ts";

/** Whom the tokens are for. */
export interface JwtSvidInterceptorOptions {
  readonly audience: string | readonly string[];
}

const KNOWN: OptionNames<JwtSvidInterceptorOptions> = { audience: true };

/**
 * Adds `authorization: Bearer <JWT-SVID>` to every call of one transport.
 *
 * Tokens go over TLS, or to this host, where a Unix socket's transport also seems to be (S-18, S-20). An interceptor
 * serves the first origin it is used for, so that a token for one service never reaches another. A unary call that is
 * answered `Unauthenticated` is tried once more with a fresh token.
 *
 * @param workload a `Workload`, or whatever has a `jwt` source
 * @param options the audience, which the service looks for in the token
 * @returns an interceptor; its calls throw SpiffeError `ERR_SPIFFE_USAGE` for a plaintext or second origin, and what
 *   `JwtSource.fetch` throws
 * @throws SpiffeError `ERR_SPIFFE_USAGE` for an option it does not know
 *
 * @example
 * ```ts
 * import { jwtSvid, Workload } from "spiffe-edge/workload";
 * import { Authority } from "spiffe-edge/testing";
 * await using authority = await Authority.start({
 *   trustDomain: "example.org",
 *   entries: [{ id: "spiffe://example.org/web", socket: "web" }],
 * });
 * await using workload = await Workload.open({ socket: authority.socketFor("web") });
 * const interceptors = [jwtSvid(workload, { audience: "spiffe://example.org/orders" })];
 * console.assert(interceptors.length === 1);
 * ```
 */
export function jwtSvid(workload: { readonly jwt: JwtSvidSource }, options: JwtSvidInterceptorOptions): Interceptor {
  onlyKnown("jwtSvid", options, KNOWN);
  const { audience } = options;
  let served: string | undefined;
  return (next) => async (request) => {
    const target = new URL(request.url);
    checkTokenTarget(target);
    served ??= target.origin;
    if (target.origin !== served) {
      const sentence = `This jwtSvid interceptor serves ${served}, not ${target.origin}; make one per transport`;
      throw new SpiffeError("ERR_SPIFFE_USAGE", sentence);
    }
    const wanted = { audience, signal: request.signal };
    const first = await workload.jwt.fetch(wanted);
    request.header.set("authorization", `Bearer ${first.token}`);
    try {
      return await next(request);
    } catch (error) {
      if (request.stream || ConnectError.from(error).code !== Code.Unauthenticated) throw error;
      const second = await otherToken(workload.jwt, wanted, first);
      if (second === undefined) throw error;
      request.header.set("authorization", `Bearer ${second.token}`);
      return next(request);
    }
  };
}
