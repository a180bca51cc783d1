/** Runs in workerd: judges the token in the request by a bundle that it takes by URL, without an agent. */
import { isSpiffeError, safeValidateJwtSvid } from "spiffe-edge";
import { BundleSource } from "spiffe-edge/workload";

interface Env {
  BUNDLE_URL: string;
}

let bundles: BundleSource | undefined;

export default {
  async fetch(request: Request, { BUNDLE_URL }: Env): Promise<Response> {
    try {
      if (request.method === "GET") await BundleSource.fromFile("/bundle.json");
      bundles ??= await BundleSource.fromUrl(BUNDLE_URL, { trustDomain: "example.org" });
      await bundles.ready();
      const verdict = await safeValidateJwtSvid(await request.text(), bundles, { audience: "orders" });
      const judged = verdict.ok ? verdict.value.id.uri : verdict.reason;
      return Response.json({ judged, state: bundles.state, fetches: bundles.counters.streams });
    } catch (error) {
      return Response.json({ code: isSpiffeError(error) ? error.code : String(error) });
    }
  },
};
