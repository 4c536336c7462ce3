// The recorded digests and traces by another host: the same WebAssembly file in Node.js (V8), with the JavaScript that npm ships
// beside it. Prints `digest  model` for each model of models/digests.txt, then the digest of each trace of vectors/trace.json.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// It comes with solc.
const { keccak256 } = createRequire(import.meta.url)("js-sha3");

const crate = join(import.meta.dirname, "..");
const repository = join(crate, "../..");
const dist = join(repository, "node_modules/onnxruntime-web/dist");
const { default: factory } = await import(join(dist, "ort-wasm-simd-threaded.mjs"));
const wasm = await factory({ numThreads: 1, wasmBinary: readFileSync(join(dist, "ort-wasm-simd-threaded.wasm")) });

const FATAL = 4;
const CPU = 1;
// By ONNX's numbers: code in packed tensors, bytes of an element, bits of infinity and of the one NaN.
const TYPES = {
  1: [12, 4, 0x7f800000n, 0x7fc00000n], 2: [6, 1], 3: [1, 1], 4: [7, 2], 5: [2, 2], 6: [3, 4], 7: [4, 8], 8: [15, 0], 9: [14, 1],
  10: [11, 2, 0x7c00n, 0x7e00n], 11: [13, 8, 0x7ff0000000000000n, 0x7ff8000000000000n], 12: [8, 4], 13: [9, 8],
  16: [12, 2, 0x7f80n, 0x7fc0n],
};

function check(failed) {
  if (!failed) return;
  const at = wasm.stackAlloc(8);
  wasm._OrtGetLastError(at, at + 4);
  throw new Error(wasm.UTF8ToString(wasm.getValue(at + 4, "*")));
}

function place(bytes) {
  const at = wasm._malloc(Math.max(bytes.length, 1)) >>> 0;
  wasm.HEAPU8.set(bytes, at);
  return at;
}

const words = (values) => place(new Uint8Array(Uint32Array.from(values).buffer));
const string = (text) => place(Buffer.from(`${text}\0`));
const word = (at) => wasm.HEAPU32[at >>> 2];

function load(model) {
  const options = wasm._OrtCreateSessionOptions(0, 1, 1, 0, 0, 0, string("judge"), FATAL, 0, 0);
  const session = wasm._OrtCreateSession(place(model), model.length, options);
  check(session === 0);
  const counts = words([0, 0]);
  check(wasm._OrtGetInputOutputCount(session, counts, counts + 4));
  const names = [];
  for (let port = 0; port < word(counts) + word(counts + 4); port++) {
    const at = words([0, 0]);
    check(wasm._OrtGetInputOutputMetadata(session, port, at, at + 4));
    names.push(word(at));
  }
  return { session, inputs: names.slice(0, word(counts)), outputs: names.slice(word(counts)) };
}

function encode(tensor) {
  const at = words([0, 0, 0, 0]);
  check(wasm._OrtGetTensorData(tensor, at, at + 4, at + 8, at + 12));
  const [type, data, dimsAt, rank] = [0, 4, 8, 12].map((offset) => word(at + offset));
  const dims = Array.from({ length: rank }, (_, axis) => word(dimsAt + 4 * axis));
  const [code, size, infinity, nan] = TYPES[type];
  const count = dims.reduce((product, dim) => product * dim, 1);
  const parts = [Buffer.from([code, rank]), ...dims.map(bigEndian)];
  if (size === 0) {
    for (let element = 0; element < count; element++) {
      const from = word(data + 4 * element);
      const to = element + 1 < count ? word(data + 4 * (element + 1)) : wasm.HEAPU8.indexOf(0, from);
      parts.push(bigEndian(to - from), Buffer.from(wasm.HEAPU8.slice(from, to)));
    }
    return Buffer.concat(parts);
  }
  const bytes = Buffer.from(wasm.HEAPU8.slice(data, data + count * size));
  if (infinity !== undefined) {
    const read = { 2: (at) => BigInt(bytes.readUInt16LE(at)), 4: (at) => BigInt(bytes.readUInt32LE(at)), 8: (at) => bytes.readBigUInt64LE(at) }[size];
    const magnitude = (1n << BigInt(8 * size - 1)) - 1n;
    for (let at = 0; at < bytes.length; at += size) {
      if ((read(at) & magnitude) > infinity) for (let byte = 0; byte < size; byte++) bytes[at + byte] = Number((nan >> BigInt(8 * byte)) & 255n);
    }
  }
  if (size === 2) bytes.swap16();
  if (size === 4) bytes.swap32();
  if (size === 8) bytes.swap64();
  if (type !== 16) return Buffer.concat([...parts, bytes]);
  const wide = Buffer.alloc(2 * bytes.length);
  for (let at = 0; at < bytes.length; at += 2) bytes.copy(wide, 2 * at, at, at + 2);
  return Buffer.concat([...parts, wide]);
}

function bigEndian(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

function run(model, inputs) {
  const tensors = inputs.map(({ type, dims, bytes }) =>
    wasm._OrtCreateTensor(type, place(bytes), bytes.length, words(dims), dims.length, CPU));
  const results = words(model.outputs.map(() => 0));
  check(wasm._OrtRun(
    model.session, words(model.inputs), words(tensors), tensors.length, words(model.outputs), model.outputs.length, results, 0,
  ));
  return model.outputs.map((_, output) => encode(word(results + 4 * output)));
}

function golden({ datatype, shape, data }) {
  const [type, bytes] = {
    FP32: () => [1, new Uint8Array(Float32Array.from(data).buffer)],
    INT64: () => [7, new Uint8Array(BigInt64Array.from(data.map(BigInt)).buffer)],
    UINT8: () => [2, Uint8Array.from(data)],
  }[datatype]();
  return { type, dims: shape, bytes };
}

function cases(name) {
  const control = [{ type: 1, dims: [4], bytes: new Uint8Array(Float32Array.of(0.125, -0.5, 0.3, 0.9).buffer) }];
  if (name === "control") return [control];
  try {
    const file = JSON.parse(readFileSync(join(repository, "onnx-models", name, "golden.json"), "utf8"));
    return file.cases.map((item) => item.inputs.map(golden));
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

check(wasm._OrtInit(1, FATAL));
for (const line of readFileSync(join(crate, "models/digests.txt"), "utf8").trim().split("\n")) {
  const name = line.split("  ")[1];
  const model = load(file(name));
  const hash = createHash("sha256");
  for (const inputs of cases(name)) for (const output of run(model, inputs)) hash.update(output);
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
  const published = load(file(name)).outputs.map((at) => wasm.UTF8ToString(at));
  const model = load(withOutputs(file(name), [...new Set(draws)].filter((drawn) => !published.includes(drawn))));
  const outputs = model.outputs.map((at) => wasm.UTF8ToString(at));
  const inputs = cases(name);
  const values = draws.length === 0 ? [] : run(model, inputs[Math.min(1, inputs.length - 1)]);
  const trace = Buffer.concat(draws.map((drawn) => values[outputs.indexOf(drawn)]));
  console.log(`${keccak256(Buffer.concat([Buffer.from(seed, "hex"), trace]))}  ${name} ${seed}`);
}
