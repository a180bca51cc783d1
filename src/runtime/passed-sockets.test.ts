import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/errors.ts";
import { passedSockets } from "./passed-sockets.ts";

const take = (env: Record<string, string | undefined>, pid = 7) => ({ found: [...passedSockets(env, pid)], env });

describe("sockets that a supervisor passes", () => {
  it("are those from 3 on, by name, and the variables are gone afterwards", () => {
    const { found, env } = take({ LISTEN_PID: "7", LISTEN_FDS: "3", LISTEN_FDNAMES: "mesh:pg:status", PATH: "/bin" });
    assert.deepEqual(found, [
      ["mesh", 3],
      ["pg", 4],
      ["status", 5],
    ]);
    assert.deepEqual(env, { PATH: "/bin" });
  });

  it("of another process are none of this one's, and their variables go as well", () => {
    for (const pid of ["8", "07", "7 ", "", "x"]) {
      const { found, env } = take({ LISTEN_PID: pid, LISTEN_FDS: "1", LISTEN_FDNAMES: "mesh" });
      assert.deepEqual([found, env], [[], {}], pid);
    }
    assert.deepEqual(take({ LISTEN_FDS: "1", LISTEN_FDNAMES: "mesh" }).found, []);
    assert.deepEqual(take({}).found, []);
  });

  it("without a number or with names that do not fit are refused", () => {
    const wrong: [string | undefined, string | undefined][] = [
      [undefined, "mesh"],
      ["x", "mesh"],
      ["-1", "mesh"],
      ["1.5", "mesh"],
      ["65", "mesh"],
      ["2", "mesh"],
      ["1", "mesh:pg"],
      ["1", undefined],
      ["2", "mesh:mesh"],
    ];
    for (const [LISTEN_FDS, LISTEN_FDNAMES] of wrong) {
      const env = { LISTEN_PID: "7", LISTEN_FDS, LISTEN_FDNAMES };
      assert.throws(
        () => passedSockets(env, 7),
        (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG"),
        `${LISTEN_FDS} ${LISTEN_FDNAMES}`,
      );
      assert.deepEqual(env, {});
    }
    assert.deepEqual(take({ LISTEN_PID: "7", LISTEN_FDS: "0" }).found, []);
    assert.deepEqual(take({ LISTEN_PID: "7", LISTEN_FDS: "1", LISTEN_FDNAMES: "mesh" }).found, [["mesh", 3]]);
  });
});
