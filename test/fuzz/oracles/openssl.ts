/** `openssl verify`, the program of the machine. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodePem } from "../../../src/encoding/pem.ts";
import { type ChainCase, NOW } from "../chains.ts";
import { ACCEPTED, type Opinion, refused } from "./oracle.ts";

/** What is missing for this oracle, or `undefined`. */
export function opensslMissing(): string | undefined {
  const { status, error } = spawnSync("openssl", ["version"]);
  return error === undefined && status === 0 ? undefined : "there is no program openssl";
}

const pem = (certificates: readonly Uint8Array[]) => certificates.map((der) => encodePem("CERTIFICATE", der)).join("");

/** One run over all cases, whose names never meet. A case without an entry was not judged. */
function verifyAll(cases: readonly ChainCase[]): Map<ChainCase, Opinion> {
  const opinions = new Map<ChainCase, Opinion>();
  const folder = mkdtempSync(join(tmpdir(), "spiffe-edge-openssl-"));
  try {
    writeFileSync(join(folder, "anchors.pem"), pem(cases.flatMap(({ anchors }) => anchors)));
    writeFileSync(join(folder, "others.pem"), pem(cases.flatMap(({ others }) => others)));
    const leaves = cases.map(({ leaf }, index) => {
      writeFileSync(join(folder, `${index}.pem`), pem([leaf]));
      return `${index}.pem`;
    });
    const trust = ["-no-CApath", "-no-CAstore", "-CAfile", "anchors.pem", "-partial_chain"];
    const untrusted = cases.some(({ others }) => others.length > 0) ? ["-untrusted", "others.pem"] : [];
    const args = ["verify", ...trust, ...untrusted, "-attime", String(NOW / 1_000), ...leaves];
    const { stdout, stderr } = spawnSync("openssl", args, { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 26 });
    for (const [, index] of stdout.matchAll(/^(\d+)\.pem: OK$/gm)) opinions.set(cases[Number(index)]!, ACCEPTED);
    let says = "";
    for (const line of stderr.split("\n")) {
      const error = /^error (\d+) at (\d+) depth lookup: (.*)$/.exec(line);
      // the first complaint about a leaf counts
      if (error !== null && says === "") says = `${error[1]} ${error[3]}`;
      const end = /^error (\d+)\.pem: verification failed$/.exec(line);
      if (end === null) continue;
      opinions.set(cases[Number(end[1])]!, refused(says));
      says = "";
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return opinions;
}

/**
 * Judges many cases. One run takes as many as it can; a certificate that openssl can not even read spoils its run, so
 * whatever has no verdict then is tried once more alone, and is refused when there is none again.
 */
export function opensslOpinions(cases: readonly ChainCase[]): Map<ChainCase, Opinion> {
  const trusting = cases.filter(({ anchors }) => anchors.length > 0);
  const whole = trusting.filter(({ flaws }) => !flaws.includes("flipped-bit"));
  const opinions = whole.length > 0 ? verifyAll(whole) : new Map<ChainCase, Opinion>();
  for (const one of cases) {
    if (opinions.has(one)) continue;
    const alone = one.anchors.length === 0 ? undefined : verifyAll([one]).get(one);
    opinions.set(one, alone ?? refused("not judged: nothing is trusted, or it can not be read"));
  }
  return opinions;
}
