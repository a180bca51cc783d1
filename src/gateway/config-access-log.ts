/** `accessLog` of a gateway file. */
import { isAbsolute } from "node:path";
import type { AccessLogConfig } from "./access-log.ts";
import type { Reader } from "./config-reader.ts";

/** Reads it; every request is logged to the common log unless something else is said. */
export function readAccessLog(read: Reader, value: unknown): AccessLogConfig {
  if (value === false) return false;
  const path = ["accessLog"];
  const block = read.object(value, path, ["file", "everyRefusal"]);
  const file = read.string(block.file, [...path, "file"], '"/var/log/spiffe-edge/access.log"');
  if (file !== undefined && !isAbsolute(file)) {
    const why = "it would depend on where the process is started";
    read.report([...path, "file"], `"${file}" is not absolute`, why, '"/var/log/spiffe-edge/access.log"');
  }
  if (block.everyRefusal !== undefined && typeof block.everyRefusal !== "boolean")
    read.report([...path, "everyRefusal"], "is neither true nor false", undefined, "true or false");
  return { file, everyRefusal: block.everyRefusal === true };
}
