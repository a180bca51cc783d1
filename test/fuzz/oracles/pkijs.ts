/** RFC 5280 path validation by pkijs, on the runtime's WebCrypto. */
import { fromBER } from "asn1js";
import * as pkijs from "pkijs";
import { type ChainCase, NOW } from "../chains.ts";
import { ACCEPTED, type Opinion, refused } from "./oracle.ts";

function parse(der: Uint8Array): pkijs.Certificate {
  return new pkijs.Certificate({ schema: fromBER(new Uint8Array(der).buffer).result });
}

/** Steps after which a search is given up: pkijs follows loops for ever. */
const STEPS = 60;

/** The opinion, or `undefined` when pkijs comes to no end. */
export async function pkijsOpinion({ leaf, others, anchors }: ChainCase): Promise<Opinion | undefined> {
  let steps = 0;
  try {
    const trustedCerts = anchors.map(parse);
    // the last one is taken for the leaf, and of equal ones the first is kept
    const certs = [...others.filter((other) => Buffer.compare(other, leaf) !== 0), leaf].map(parse);
    const engine = new pkijs.CertificateChainValidationEngine({ trustedCerts, certs, checkDate: new Date(NOW) });
    const findIssuer = engine.findIssuer.bind(engine);
    engine.findIssuer = (...call) => {
      if (++steps > STEPS) throw new Error("gave up");
      return findIssuer(...call);
    };
    const { result, resultMessage } = await engine.verify();
    if (result) return ACCEPTED;
    return steps > STEPS ? undefined : refused(resultMessage);
  } catch (error) {
    return steps > STEPS ? undefined : refused(error);
  }
}
