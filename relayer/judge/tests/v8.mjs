// The recorded digests and traces by another host: the same WebAssembly file in Node.js. Prints `digest  model` for each model of
// models/digests.txt, then the digest of each trace of vectors/trace.json.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { bigEndian, encode, fromJson, load } from "./host.mjs";

// It comes with solc.
const { keccak256 } = createRequire(import.meta.url)("js-sha3");

const crate = join(import.meta.dirname, "..");
const repository = join(crate, "../..");

function cases(name) {
  const control = [{ type: 1, dims: [4], data: new Uint8Array(Float32Array.of(0.125, -0.5, 0.3, 0.9).buffer) }];
  if (name === "control") return [control];
  try {
    const file = JSON.parse(readFileSync(join(repository, "onnx-models", name, "golden.json"), "utf8"));
    return file.cases.map((item) => item.inputs.map(fromJson));
  } catch {
    return [[]];
  }
}

function file(name) {
  try {
    return readFileSync(join(crate, "models", `${name}.onnx`));
  } catch {
    return readFileSync(join(repository, "onnx-models", name, "model.onnx"));
  }
}

for (const line of readFileSync(join(crate, "models/digests.txt"), "utf8").trim().split("\n")) {
  const name = line.split("  ")[1];
  const model = load(file(name));
  const hash = createHash("sha256");
  for (const inputs of cases(name)) for (const output of model.run(inputs)) hash.update(encode(output));
  console.log(`${hash.digest("hex")}  ${name}`);
}

// Protobuf: field 7 (graph) of a model, with a field 12 (output) for each name, behind the file.
function withOutputs(file, names) {
  const field = (tag, bytes) => {
    const length = [];
    for (let rest = bytes.length; ; rest >>>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) break;
    }
    return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
  };
  const outputs = names.map((name) => field(0x62, field(0x0a, Buffer.from(name))));
  return Buffer.concat([file, field(0x3a, Buffer.concat(outputs))]);
}

for (const { model: name, seed, candidates } of JSON.parse(readFileSync(join(crate, "vectors/trace.json"), "utf8"))) {
  const draws = [];
  for (let draw = 0; draw < 8 && candidates.length > 0; draw++) {
    const hash = keccak256(Buffer.concat([Buffer.from(seed, "hex"), bigEndian(draw)]));
    draws.push(candidates[Number(BigInt(`0x${hash}`) % BigInt(candidates.length))]);
  }
  const published = load(file(name)).outputs;
  const model = load(withOutputs(file(name), [...new Set(draws)].filter((drawn) => !published.includes(drawn))));
  const inputs = cases(name);
  const values = draws.length === 0 ? [] : model.run(inputs[Math.min(1, inputs.length - 1)]);
  const trace = Buffer.concat(draws.map((drawn) => encode(values[model.outputs.indexOf(drawn)])));
  console.log(`${keccak256(Buffer.concat([Buffer.from(seed, "hex"), trace]))}  ${name} ${seed}`);
}
