/** Which of several identities a workload takes for its own. */
import type { OptionNames } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import { SpiffeId } from "../id/index.ts";
import type { X509Svid } from "../x509/index.ts";

/** One way to choose, at most; without any it is the agent's first, the default identity (WL-13). */
export interface IdentityChoice {
  /** Take the SVID with this hint. */
  readonly hint?: string | undefined;
  /** Take the SVID of this SPIFFE ID. */
  readonly id?: SpiffeId | string | undefined;
  /** Takes one of the SVIDs; called once for each new state. */
  readonly pick?: ((svids: readonly X509Svid[]) => X509Svid | undefined) | undefined;
}

export const CHOICE_NAMES: OptionNames<IdentityChoice> = { hint: true, id: true, pick: true };

/** A choice that can be made again with every state. */
export interface Chooser {
  /** What is chosen, for a sentence, such as `the hint "internal"`. */
  readonly wanted: string;
  choose(svids: readonly X509Svid[]): Chosen;
}

/** The SVID that was chosen, or why none was. */
export interface Chosen {
  readonly svid: X509Svid | undefined;
  /** What the program's own choice threw. */
  readonly cause?: unknown;
}

/** @throws SpiffeError `ERR_SPIFFE_USAGE` for several ways at once; `ERR_SPIFFE_ID` */
export function chooserOf({ hint, id, pick }: IdentityChoice): Chooser {
  if ([hint, id, pick].filter((way) => way !== undefined).length > 1) {
    throw new SpiffeError(
      "ERR_SPIFFE_USAGE",
      "An identity is chosen by hint, by id or by pick, not by several of them",
    );
  }
  if (hint !== undefined) {
    const wanted = `the hint ${JSON.stringify(hint)}`;
    return { wanted, choose: (svids) => ({ svid: svids.find((svid) => svid.hint === hint) }) };
  }
  if (id !== undefined) {
    const wantedId = typeof id === "string" ? SpiffeId.parse(id) : id;
    return {
      wanted: `the ID ${wantedId}`,
      choose: (svids) => ({ svid: svids.find((svid) => svid.id.equals(wantedId)) }),
    };
  }
  if (pick === undefined) return { wanted: "any", choose: ([svid]) => ({ svid }) };
  return {
    wanted: "what the program picks",
    choose(svids) {
      try {
        const picked = pick(svids);
        // An SVID from elsewhere, such as an older state, is not one of those that the agent vouches for now.
        return { svid: svids.find((svid) => svid === picked) };
      } catch (cause) {
        return { svid: undefined, cause };
      }
    },
  };
}
