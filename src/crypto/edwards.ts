/** What an Ed25519 public key must be (RFC 8032 §5.1.3), checked once per key; public data only. */
import { isSquare } from "./curves.ts";
import { toBigInt } from "./octets.ts";

const P = 2n ** 255n - 19n;
/** The order of the prime subgroup. */
export const ED25519_ORDER: bigint = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/** y coordinates of the points whose order divides 8. A key there verifies signatures that anyone can make. */
const SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  P - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  P - 2707385501144840649318225287225658788936804267575313519463743609750303402022n,
]);

/** Whether an encoded point is one of the eight of small order, also when it is not canonical. */
export function isSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER_Y.has(yOf(point) % P);
}

function yOf(point: Uint8Array): bigint {
  const reversed = Uint8Array.from(point).reverse();
  reversed[0]! &= 0x7f;
  return toBigInt(reversed);
}

/**
 * Why 32 octets are no acceptable Ed25519 public key, or `undefined` when they are one.
 *
 * Runtimes differ on encodings that are not canonical and on points of small order, so both are refused here.
 */
export function ed25519KeyFault(key: Uint8Array): "encoding" | "not-on-curve" | "small-order" | undefined {
  const y = yOf(key);
  if (y >= P) return "encoding";
  if (SMALL_ORDER_Y.has(y)) return "small-order";
  // x² = u / v must be a square, which u·v then is too; x = 0 happens only for the small-order y of 1 and −1
  const ySquared = (y * y) % P;
  return isSquare((ySquared - 1n) * (D * ySquared + 1n), P) ? undefined : "not-on-curve";
}
