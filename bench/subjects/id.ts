/** SPIFFE ID parsing. */
import { SpiffeId } from "../../src/id/index.ts";
import type { Measure } from "./measure.ts";

export const measureId: Measure = async ({ fixtures, amount, add, count }) => {
  const { ids } = fixtures;
  count("id parse", "spiffe-edge", ids, (id) => SpiffeId.safeParse(id).ok);
  await add("id", "parse", "spiffe-edge", (i) => void SpiffeId.safeParse(ids[i % ids.length]!), {
    ...amount,
    batch: 100,
  });
};
