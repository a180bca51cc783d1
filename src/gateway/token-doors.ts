/** Which tokens a route takes: one door per list of audiences, all with one memory (S-19). */
import type { Clock } from "../base/index.ts";
import { type JwtBundleSource, VerifiedTokens } from "../jwt/index.ts";
import type { RouteConfig } from "./config-types.ts";
import type { JwtDoor } from "./middleware/authenticate.ts";

/** The doors of a gateway. */
export class TokenDoors {
  readonly tokens: VerifiedTokens = new VerifiedTokens();
  readonly #bundles: JwtBundleSource;
  readonly #clock: Clock;
  readonly #doors = new WeakMap<RouteConfig, JwtDoor>();

  constructor(bundles: JwtBundleSource, clock: Clock) {
    this.#bundles = bundles;
    this.#clock = clock;
  }

  /** The door of a route; none where it takes no tokens. */
  of(route: RouteConfig): JwtDoor | undefined {
    const { audience } = route;
    if (audience.length === 0) return undefined;
    let door = this.#doors.get(route);
    if (door === undefined) {
      door = { judge: this.tokens.judge({ audience, clock: this.#clock }), bundles: this.#bundles };
      this.#doors.set(route, door);
    }
    return door;
  }
}
