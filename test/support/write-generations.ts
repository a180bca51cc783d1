/** A program: writes one generation after another into a folder, as fast as it can, until it is killed. */
import { writeGeneration } from "../../src/cli/helper/generation.ts";

const [folder = ""] = process.argv.slice(2);
for (let n = 0; ; n++) {
  const names = ["svid.pem", "key.pem", "bundle.pem", "token.jwt"];
  const content = `${process.pid}-${n} `.repeat(2_000);
  writeGeneration(
    folder,
    names.map((name) => ({ name, content, mode: 0o600 })),
    n,
  );
  if (n === 0) console.log("written");
}
