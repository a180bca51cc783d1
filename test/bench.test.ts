/** The benches in short form: they run on this runtime and write rows that hold together. No time is judged. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { judgeGoals } from "../bench/lib/goals.ts";
import { type Row, rowFault, rowOf, SUBJECTS, table } from "../bench/lib/rows.ts";
import { cpuOf } from "../bench/lib/serving.ts";
import { judgeTarget } from "../bench/lib/target.ts";
import { runtime } from "../src/runtime/detect.ts";
import { launchBench } from "./support/programs.ts";

const head = { subject: "workload", name: "jwt issue", stack: "spiffe-edge", runtime: "bun" } as const;

/** A row of `n` calls of the given time, of which the slowest two in a hundred take `slow`. */
function calls(name: string, n: number, us: number, slow = us): Row {
  return rowOf(
    { ...head, name },
    Array.from({ length: n }, (_, i) => (i % 50 === 0 ? slow : us)),
  );
}

describe("bench: the CPU of a process", () => {
  it("is counted while its children come and go, and of none once it is gone", async () => {
    const forking = spawn("sh", ["-c", "while :; do (exec true) & (exec true) & wait; done"]);
    const ended = new Promise((done) => forking.once("close", done));
    try {
      const looks = Array.from({ length: 5_000 }, () => cpuOf(forking.pid!));
      // Systems without /proc tell nothing at all.
      if (process.platform === "linux") assert.ok(looks.every((us) => us !== undefined && us >= 0));
    } finally {
      forking.kill("SIGKILL");
      await ended;
    }
    assert.equal(cpuOf(forking.pid!), undefined);
  });
});

describe("bench: rows", () => {
  it("takes percentiles by nearest rank", () => {
    const row = rowOf(head, [...Array(100).keys()].map((i) => i + 1).reverse());
    assert.deepEqual([row.n, row.min, row.p50, row.p99], [100, 1, 50, 99]);
  });

  it("finds what is wrong with a row", () => {
    const good = calls("jwt issue", 300, 2_000);
    assert.equal(rowFault(good), undefined);
    assert.match(rowFault({ ...good, p50: 9e9 }) ?? "", /order/);
    assert.match(rowFault({ ...good, min: 0 }) ?? "", /positive/);
    assert.match(rowFault({ ...good, p99: Number.NaN }) ?? "", /positive/);
    assert.match(rowFault({ ...good, subject: "sport" as never }) ?? "", /subject/);
  });

  it("prints every row in its table", () => {
    const printed = table([calls("jwt issue", 300, 2_000), calls("x509 fetch", 300, 1_000)]);
    assert.equal(printed.split("\n").length, 3);
    assert.match(printed, /workload +jwt issue +spiffe-edge +bun +us +300 +2000 +2000 +2000/);
  });
});

describe("bench: the target of 100 ms", () => {
  const rows = (slow: number, n = 300) => [calls("x509 fetch", n, 1_000), calls("jwt issue", n, 2_000, slow)];

  it("is met below, and missed from 100 ms on", () => {
    assert.equal(judgeTarget(rows(99_999), "spire").met, true);
    const missed = judgeTarget(rows(100_000), "spire");
    assert.equal(missed.met, false);
    assert.match(missed.sentence, /MISSED.*jwt issue, bun/);
  });

  it("is proven only by a real SPIRE and 300 calls", () => {
    assert.equal(judgeTarget(rows(2_000), "embedded").met, undefined);
    assert.equal(judgeTarget(rows(2_000, 299), "spire").met, undefined);
    assert.equal(judgeTarget(rows(100_000, 299), "spire").met, undefined);
    assert.equal(judgeTarget([], "spire").met, undefined);
  });

  it("counts neither peers nor other names", () => {
    const slow = calls("x509 fetch", 300, 500_000);
    assert.equal(judgeTarget([...rows(2_000), { ...slow, stack: "go-spiffe" }], "spire").met, true);
    assert.equal(judgeTarget([...rows(2_000), { ...slow, name: "cold start" }], "spire").met, true);
  });
});

describe("bench: goals", () => {
  const own = { stack: "spiffe-edge", runtime: "bun" } as const;
  const chain = (us: number) => [
    rowOf({ ...own, subject: "x509", name: "chain P-256" }, [us]),
    rowOf({ ...own, subject: "x509", name: "signatures P-256" }, [100]),
  ];

  it("tells what is met and what is missed, by bound and by ratio", () => {
    assert.match(judgeGoals(chain(130))[0] ?? "", /^met .*chain P-256 on bun: 1\.300 × signatures P-256, goal 1\.3$/);
    assert.match(judgeGoals(chain(131))[0] ?? "", /^MISSED /);
    assert.match(judgeGoals(chain(100).slice(0, 1))[0] ?? "", /^MISSED /);
    const peer = rowOf({ subject: "workload", name: "x509 fetch", stack: "go-spiffe", runtime: "go" }, [100]);
    const fetched = (us: number) =>
      judgeGoals([rowOf({ ...own, subject: "workload", name: "x509 fetch" }, [us]), peer]);
    assert.match(fetched(150)[0] ?? "", /^met .*x509 fetch p50 on bun: 1\.500 × go-spiffe x509 fetch, goal 1\.5$/);
    assert.match(fetched(151)[0] ?? "", /^MISSED /);
    assert.equal(fetched(100).length, 2);
    const id = (us: number) => [rowOf({ ...own, subject: "id", name: "parse" }, [us])];
    assert.match(judgeGoals(id(0.3))[0] ?? "", /^met /);
    assert.match(judgeGoals(id(0.31))[0] ?? "", /^MISSED /);
    assert.deepEqual(judgeGoals([{ ...id(9)[0]!, stack: "go-spiffe" }]), []);
  });

  it("compares with a peer's row of the same runtime, with that in Go wherever it ran, and only where a goal holds", () => {
    const crypto = (name: string, us: number, stack: Row["stack"], runtime: Row["runtime"]) =>
      rowOf({ subject: "crypto", name, stack, runtime }, [us]);
    const verify = (us: number, runtime: Row["runtime"]) => [
      crypto("verify ES256", us, "spiffe-edge", runtime),
      crypto("verify ES256", 100, "native", runtime),
      crypto("verify ES256", 1, "native", runtime === "bun" ? "node" : "bun"),
    ];
    const told = (rows: Row[]) => judgeGoals(rows).filter((line) => / native verify ES256, /.test(line));
    assert.match(told(verify(83, "bun"))[0] ?? "", /^met .* on bun: 0\.830 × native verify ES256, goal 0\.833$/);
    assert.match(told(verify(84, "node"))[0] ?? "", /^MISSED /);
    assert.match(told(verify(21, "deno"))[0] ?? "", /^MISSED .* goal 0\.2$/);
    assert.match(told(verify(20, "deno"))[0] ?? "", /^met /);
    assert.match(told(verify(86, "workerd"))[0] ?? "", /^met .* goal 0\.87$/);
    assert.equal(told(verify(83, "bun")).length, 1);
    const chain = (us: number) => [
      crypto("chain P-256", us, "spiffe-edge", "node"),
      crypto("chain P-256", 100, "go-spiffe", "go"),
    ];
    const beside = (rows: Row[]) => judgeGoals(rows).filter((line) => /go-spiffe/.test(line));
    assert.match(beside(chain(75))[0] ?? "", /^met .* on node: 0\.750 × go-spiffe chain P-256, goal 0\.75$/);
    assert.match(beside(chain(76))[0] ?? "", /^MISSED /);
  });

  it("compares with a peer where there is one, and by the runtime's own bound", () => {
    const handshake = (runtime: "bun" | "node", us: number) =>
      rowOf({ ...own, runtime, subject: "gateway", name: "handshake" }, [us]);
    const go = rowOf({ subject: "gateway", name: "handshake", stack: "go-spiffe", runtime: "go" }, [100]);
    assert.match(judgeGoals([handshake("bun", 125), go])[0] ?? "", /^met .* 1\.250 × go-spiffe handshake, goal 1\.25$/);
    assert.match(judgeGoals([handshake("bun", 126), go])[0] ?? "", /^MISSED /);
    assert.match(judgeGoals([handshake("node", 181), go])[0] ?? "", /^met /);
    assert.match(judgeGoals([handshake("node", 182), go])[0] ?? "", /^MISSED /);
    assert.deepEqual(judgeGoals([handshake("bun", 900)]), []);
  });
});

/** The names that each subject measures on every runtime. */
const NAMES: Readonly<Record<(typeof SUBJECTS)[number], readonly string[]>> = {
  id: ["parse"],
  x509: ["parse", "signatures P-256", "chain P-256", "chain P-384"],
  jwt: ["bundle of 1000 keys", "bundle of 1 MiB", "jwt-svid ES256", "jwt-svid ES384"],
  crypto: [
    "verify ES256",
    "verify ES256 first use",
    "memoised P-256",
    "cold ES256",
    "module in gzip",
    "memory of tables",
  ],
  workload: ["x509 fetch", "jwt issue", "jwt cached", "source read", "jwt from source", "cold start"],
  policy: ["decide 1000 rules", "decide 1000 rules hostile"],
  gateway: [
    "reverse-proxy",
    "handshake",
    "fetch",
    "neighbour quiet",
    "neighbour dials",
    "neighbour",
    "neighbour spread",
    "reverse-proxy tokens",
  ],
  memory: ["id parse"],
};
/** Those for which a peer in Go has to be there. */
const BESIDE_GO: readonly string[] = ["memory idle connection", "gateway jwt-native", "gateway jwt-native anew"];

describe("npm run bench", () => {
  for (const subject of SUBJECTS) {
    it(`writes a valid row for every name of ${subject}, with verdicts that agree`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "bench-"));
      const file = join(folder, "rows.json");
      const ended = await launchBench([subject, "--quick", "--runtime", runtime.name, "--json", file]);
      assert.equal(ended.code, 0, `${ended.stdout}\n${ended.stderr}`);
      const rows = JSON.parse(readFileSync(file, "utf8")) as Row[];
      for (const row of rows) assert.equal(rowFault(row), undefined, JSON.stringify(row));
      const own = rows.filter((row) => row.stack === "spiffe-edge");
      for (const row of own) assert.equal(`${row.subject} ${row.runtime}`, `${subject} ${runtime.name}`);
      const names = new Set(own.map((row) => `${subject} ${row.name}`));
      const wanted = NAMES[subject].map((name) => `${subject} ${name}`);
      if (rows.some((row) => row.stack === "go-spiffe")) {
        wanted.push(...BESIDE_GO.filter((name) => name.startsWith(`${subject} `)));
      }
      for (const name of wanted) assert.ok(names.has(name), `${name} is missing`);
      assert.doesNotMatch(ended.stdout, /FAULT/);
      assert.match(ended.stdout.trimEnd().split("\n").at(-1) ?? "", /^\d+ rows; target < 100 ms: /);
      rmSync(folder, { recursive: true });
    });
  }

  it("ends with 2 for a subject or a runtime that does not exist", async () => {
    for (const args of [["sport"], ["--runtime", "browser"], ["--slow"]]) {
      const ended = await launchBench(args);
      assert.equal(ended.code, 2, ended.stdout);
      assert.match(ended.stderr, /^bench: [^\n]*Usage: [^\n]*\n$/);
    }
  });
});
