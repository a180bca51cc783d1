/** What an independent implementation says about the same case. */

/** An acceptance, or what the implementation says against it. */
export interface Opinion {
  readonly accepted: boolean;
  /** Its own words on a refusal; empty for an acceptance. */
  readonly says: string;
}

export const ACCEPTED: Opinion = { accepted: true, says: "" };

export function refused(says: unknown): Opinion {
  return { accepted: false, says: says instanceof Error ? says.message : String(says) };
}
