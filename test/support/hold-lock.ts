/** Holds the lock of a folder until it is killed: `hold-lock.ts FOLDER`. */
import { systemClock } from "../../src/base/index.ts";
import { FolderLock } from "../../src/cli/helper/lock.ts";

await new FolderLock(process.argv[2]!, systemClock).hold();
console.log("held");
