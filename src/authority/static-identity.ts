/** An identity for tests that has whatever SVID and bundles the test gives it. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { SpiffeError } from "../base/index.ts";
import type { TlsIdentity } from "../tls/identity.ts";
import { X509Bundle, type X509BundleSource, X509Svid } from "../x509/index.ts";
import { Change, turns } from "./change.ts";
import type { TestSvid } from "./test-ca.ts";

/** What the identity shall have. */
export interface StaticMaterial {
  /** `null`: none, as after a revocation. */
  readonly svid?: X509Svid | Pick<TestSvid, "chainDer" | "privateKeyPkcs8"> | null;
  readonly bundles?: X509BundleSource | X509Bundle | readonly X509Bundle[];
}

const KNOWN: OptionNames<StaticMaterial> = { svid: true, bundles: true };

/** What `listen`, `connect` and `createFetch` take, with both halves settable. */
export interface StaticIdentity extends TlsIdentity {
  /** Replaces what is given and leaves the rest; then tells `updates()`. */
  update(material: StaticMaterial): Promise<void>;
}

/**
 * Makes an identity from an issued SVID and bundles.
 *
 * @throws `ERR_SPIFFE_X509_SVID` when the given certificate is not a valid X509-SVID
 * @example
 * ```ts
 * import { staticIdentity, TestCa } from "spiffe-edge/testing";
 * const ca = await TestCa.create();
 * const svid = await ca.issue({ id: "spiffe://example.org/web" });
 * const identity = await staticIdentity({ svid, bundles: ca.x509Bundle() });
 * console.assert(identity.x509.x509Svid().id.uri === "spiffe://example.org/web");
 * await identity.update({ svid: null });
 * ```
 */
export async function staticIdentity(material: StaticMaterial): Promise<StaticIdentity> {
  const change = new Change();
  let svid: X509Svid | null = null;
  let bundles: X509BundleSource = { x509BundleFor: () => undefined };
  const set = async (next: StaticMaterial) => {
    onlyKnown("staticIdentity", next, KNOWN);
    if (next.svid !== undefined) svid = await asSvid(next.svid);
    if (next.bundles !== undefined) bundles = asSource(next.bundles);
  };
  await set(material);
  return {
    x509: {
      x509Svid() {
        if (svid === null) throw new SpiffeError("ERR_SPIFFE_REVOKED", "The test took the identity away");
        return svid;
      },
      x509BundleFor: (trustDomain) => bundles.x509BundleFor(trustDomain),
      updates: (signal) => turns(change, ...(signal === undefined ? [] : [signal])),
    },
    async update(next) {
      await set(next);
      change.notify();
    },
  };
}

async function asSvid(svid: NonNullable<StaticMaterial["svid"]> | null): Promise<X509Svid | null> {
  if (svid === null || svid instanceof X509Svid) return svid;
  return X509Svid.parse(svid.chainDer, svid.privateKeyPkcs8);
}

function asSource(bundles: NonNullable<StaticMaterial["bundles"]>): X509BundleSource {
  if ("x509BundleFor" in bundles) return bundles;
  const list = bundles instanceof X509Bundle ? [bundles] : bundles;
  return { x509BundleFor: (trustDomain) => list.find((bundle) => bundle.trustDomain.equals(trustDomain)) };
}
