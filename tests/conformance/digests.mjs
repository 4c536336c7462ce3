// The judge's WebAssembly file in Node.js, on the cases that `conformance --digests` runs: digests.mjs FOLDER CASE… prints
// {"case", "digest": {"outputs"}} or {"case", "error"} on a line for each.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encode, load } from "../../relayer/judge/tests/host.mjs";

const bytes = (hex) => Buffer.from(hex, "hex");
const [folder, ...cases] = process.argv.slice(2);

function digest(name) {
  const file = (part) => readFileSync(join(folder, name, part));
  const model = load(file("model.onnx"));
  const hash = createHash("sha256");
  for (const line of file("inputs").toString().trim().split("\n")) {
    const inputs = JSON.parse(line).map(({ type, dims, data }) => {
      return { type, dims, data: Array.isArray(data) ? data.map(bytes) : bytes(data) };
    });
    for (const output of model.run(inputs)) hash.update(encode(output));
  }
  model.release();
  return { outputs: hash.digest("hex") };
}

for (const name of cases) {
  let line;
  try {
    line = { case: name, digest: digest(name) };
  } catch (error) {
    line = { case: name, error: String(error.message ?? error) };
  }
  console.log(JSON.stringify(line));
}
