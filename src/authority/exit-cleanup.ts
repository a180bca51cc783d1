/** Removes sockets and directories when the process ends without a close, as after `process.exit()` or a crash. */
import { rmdirSync, unlinkSync } from "node:fs";

const sockets: Set<string> = new Set();
const directories: Set<string> = new Set();

/** Unlinks this socket at the end of the process, until the returned function is called. */
export function unlinkAtExit(socket: string): () => void {
  return remember(sockets, socket);
}

/** Removes this directory at the end of the process, if it is empty then, until the returned function is called. */
export function rmdirAtExit(directory: string): () => void {
  return remember(directories, directory);
}

function remember(paths: Set<string>, path: string): () => void {
  // one listener for all, taken away with the last path
  if (sockets.size + directories.size === 0) process.on("exit", cleanUp);
  paths.add(path);
  return () => {
    if (paths.delete(path) && sockets.size + directories.size === 0) process.off("exit", cleanUp);
  };
}

function cleanUp(): void {
  for (const socket of sockets) quietly(() => unlinkSync(socket));
  for (const directory of directories) quietly(() => rmdirSync(directory));
}

function quietly(remove: () => void): void {
  try {
    remove();
  } catch {
    // nobody is left to be told
  }
}
