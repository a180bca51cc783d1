/** The checks of the X.509 profile: the first answer taken apart, so that each thing that can be wrong has its line. */
import { isSpiffeError, systemClock } from "../../base/index.ts";
import { splitDer } from "../../encoding/index.ts";
import type { X509SVID, X509SVIDResponse } from "../../gen/workload/workload_pb.js";
import { SpiffeId } from "../../id/index.ts";
import { connectionOf } from "../../workload/client.ts";
import type { Profile } from "../../workload/connection.ts";
import type { Snapshot, WorkloadApiClient } from "../../workload/index.ts";
import { X509_CONTEXT } from "../../workload/profiles.ts";
import { Certificate, safeVerifyX509Svid, X509Bundle, X509Svid } from "../../x509/index.ts";
import { duration } from "../format.ts";
import { type Finding, failed, failure, noted, ok, skipped } from "./report.ts";
import { registration, type ThisProcess } from "./this-process.ts";

/** An answer as it came, not judged. */
interface RawContext extends Snapshot {
  readonly message: X509SVIDResponse;
}

const RAW: Profile<X509SVIDResponse, RawContext> = {
  name: X509_CONTEXT.name,
  open: X509_CONTEXT.open,
  decode: async (message) => ({ ok: true, value: { message } }),
  same: () => false,
  empty: { message: undefined as never },
};

const CLOCK_FIX = "compare this machine's clock with the issuer's: timedatectl, chronyc tracking";
/** An agent renews in the middle of a life; past this share something is late. */
const LATE = 0.75;

/** An X.509-SVID as it came, with what could be read of it. */
export interface FirstSvid {
  readonly wire: X509SVID;
  readonly certificates: readonly Certificate[];
}

/** Fetches the first answer. */
export async function checkFirstSvid(
  client: WorkloadApiClient,
  caller: ThisProcess,
): Promise<{ finding: Finding; svids?: readonly FirstSvid[]; message?: X509SVIDResponse }> {
  let message: X509SVIDResponse;
  try {
    const verdict = await connectionOf(client).first(RAW, {});
    if (!verdict.ok) return { finding: failed(verdict.message) };
    ({ message } = verdict.value);
  } catch (error) {
    if (!isSpiffeError(error, "ERR_SPIFFE_NO_IDENTITY")) return { finding: failure(error) };
    return { finding: { ...failure(error), fix: registration(caller) } };
  }
  if (message.svids.length === 0) return { finding: failed("the answer has no SVIDs", "see the agent's log") };
  const svids: FirstSvid[] = [];
  for (const [index, wire] of message.svids.entries()) {
    const empty = (["spiffeId", "x509Svid", "x509SvidKey", "bundle"] as const).find((name) => wire[name].length === 0);
    if (empty !== undefined)
      return { finding: failed(`SVID ${index} of the answer has an empty ${empty}`, "see the agent's log") };
    const certificates = parse(wire.x509Svid);
    if (certificates === undefined)
      return { finding: failed(`SVID ${index} of the answer is no chain of certificates in DER`) };
    svids.push({ wire, certificates });
  }
  const [{ wire, certificates }] = svids as [FirstSvid];
  const [leaf] = certificates as [Certificate];
  const more = svids.length === 1 ? "" : `, the default of ${svids.length} identities`;
  const facts = {
    ids: svids.map((svid) => svid.wire.spiffeId),
    serial: leaf.serialNumber,
    expiresAt: leaf.notAfter.toISOString(),
  };
  return {
    finding: ok(`${wire.spiffeId}${more}, ${certificates.length} in chain, expires ${facts.expiresAt}`, facts),
    svids,
    message,
  };
}

function parse(der: Uint8Array): Certificate[] | undefined {
  const elements = splitDer(der);
  if (!elements.ok) return undefined;
  const certificates = elements.value.map((element) => Certificate.safeParse(element));
  const read = certificates.flatMap((certificate) => (certificate.ok ? [certificate.value] : []));
  return read.length === 0 || read.length < certificates.length ? undefined : read;
}

/** Verifies each chain against the bundle beside it. Time has a line of its own: it is left out of this one. */
export async function checkChain(svids: readonly FirstSvid[]): Promise<Finding> {
  for (const { wire, certificates } of svids) {
    const id = SpiffeId.safeParse(wire.spiffeId);
    const bad = (message: string, reason: string) =>
      failed(`${wire.spiffeId}: ${message}`, "see that the agent and its server have the same trust bundle", {
        reason,
      });
    if (!id.ok) return bad(id.message, id.reason);
    const bundle = X509Bundle.safeFromDer(id.value.trustDomain, wire.bundle);
    if (!bundle.ok) return bad(bundle.message, bundle.reason);
    const source = { x509BundleFor: () => bundle.value };
    const now = systemClock.now();
    let verdict = await safeVerifyX509Svid(certificates, source);
    if (!verdict.ok && (verdict.reason === "x509.expired" || verdict.reason === "x509.not-yet-valid")) {
      const at = within(certificates, now);
      verdict = await safeVerifyX509Svid(certificates, source, { clock: { ...systemClock, now: () => at } });
    }
    if (!verdict.ok) return bad(verdict.message, verdict.reason);
    if (!verdict.value.id.equals(id.value))
      return bad(`the certificate is ${verdict.value.id.uri}'s`, "x509.id-mismatch");
  }
  return ok("verifies against the trust domain's bundle");
}

/** The moment closest to now in which all of the presented certificates are valid. */
function within(certificates: readonly Certificate[], now: number): number {
  const begin = Math.max(...certificates.map(({ notBefore }) => notBefore.getTime()));
  const end = Math.min(...certificates.map(({ notAfter }) => notAfter.getTime()));
  return Math.min(Math.max(now, begin), end);
}

/** Whether each key is the leaf's. */
export async function checkKey(svids: readonly FirstSvid[]): Promise<Finding> {
  for (const { wire } of svids) {
    const svid = await X509Svid.safeParse(wire.x509Svid, wire.x509SvidKey);
    if (svid.ok) continue;
    if (svid.reason !== "x509.key-mismatch")
      return skipped(`the certificate is not that of a workload: ${svid.message}`);
    return failed(`${wire.spiffeId}: the private key is not the certificate's`, "restart the agent", {
      reason: svid.reason,
    });
  }
  return ok("the private key is the certificate's");
}

/** What the newest certificate says about this machine's clock. */
export function checkClock([first]: readonly FirstSvid[]): Finding {
  const now = systemClock.now();
  const { notBefore, notAfter } = first!.certificates[0]!;
  const [age, left] = [now - notBefore.getTime(), notAfter.getTime() - now];
  if (age < 0)
    return failed(`the SVID begins in ${duration(-age)}: this machine's clock is behind the issuer's`, CLOCK_FIX);
  if (left < 0) {
    const fix = `${CLOCK_FIX}; if it is right, see why the agent does not renew`;
    return failed(
      `the SVID ended ${duration(-left)} ago: this machine's clock is ahead, or the agent hands out old SVIDs`,
      fix,
    );
  }
  const detail = `the SVID is ${duration(age)} old and ends in ${duration(left)}`;
  if (age <= (age + left) * LATE) return ok(detail);
  return noted(`${detail}: by now it should have been renewed`, "see the agent's log, or this machine's clock");
}

/** What a client finds wrong with the answer as a whole, its federated bundles included (S-11). */
export async function faultOf(message: X509SVIDResponse): Promise<string | undefined> {
  const verdict = await X509_CONTEXT.decode(message, systemClock);
  return verdict.ok ? undefined : verdict.message;
}
