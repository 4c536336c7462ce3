// The judge's WebAssembly file in Node.js (V8), with the JavaScript that npm ships beside it: a second host that shares no code
// with the crate, and what records the golden vectors of onnx-models/. It has the settings of profile strings, NaNs canonical
// included, but for the limits: V8 counts no fuel.
//
// A tensor is { type, dims, data }: ONNX's number of the type, the shape, and the elements' bytes in little-endian order; those of
// strings are an array of Buffers instead, one for each string.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const npm = join(import.meta.dirname, "../../../node_modules/onnxruntime-web");
const wasmBinary = readFileSync(join(npm, "dist/ort-wasm-simd-threaded.wasm"));
const { version } = JSON.parse(readFileSync(join(npm, "package.json"), "utf8"));

/** Version and SHA-256 of the file, as profile strings have them. */
export const RUNTIME = `onnxruntime-wasm=${version};sha256=${createHash("sha256").update(wasmBinary).digest("hex")}`;

const FATAL = 4;
const CPU = 1;
const STRING = 8;
/** Bytes of an element, by ONNX's numbers of types. */
export const SIZES = { 1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2 };
// Bits of infinity and of the one NaN.
const FLOATS = {
  1: [0x7f800000n, 0x7fc00000n], 10: [0x7c00n, 0x7e00n], 11: [0x7ff0000000000000n, 0x7ff8000000000000n],
  16: [0x7f80n, 0x7fc0n],
};
/** Types by their names in the Open Inference Protocol: ONNX's numbers, and arrays of their elements. */
export const DATATYPES = {
  FP32: [1, Float32Array], UINT8: [2, Uint8Array], INT8: [3, Int8Array], INT64: [7, BigInt64Array], BYTES: [STRING],
  BOOL: [9, Uint8Array],
};

const { default: factory } = await import(join(npm, "dist/ort-wasm-simd-threaded.mjs"));
const wasm = await factory({ numThreads: 1, wasmBinary });

// Inputs and outputs are not given back: the process ends after a few thousand runs of small models.
function place(bytes) {
  const at = wasm._malloc(Math.max(bytes.length, 1)) >>> 0;
  wasm.HEAPU8.set(bytes, at);
  return at;
}

const words = (values) => place(new Uint8Array(Uint32Array.from(values).buffer));
const string = (text) => place(Buffer.concat([Buffer.from(text), Buffer.of(0)]));
const word = (at) => wasm.HEAPU32[at >>> 2];

function check(failed) {
  if (!failed) return;
  const at = words([0, 0]);
  wasm._OrtGetLastError(at, at + 4);
  throw new Error(wasm.UTF8ToString(word(at + 4)));
}

check(wasm._OrtInit(1, FATAL));

/**
 * Loads a model: one thread, sequential, no optimization. `run` takes a tensor for each input and gives one for each output, in the
 * model's order; after `release` there are no more runs.
 */
export function load(file) {
  const options = wasm._OrtCreateSessionOptions(0, 1, 1, 0, 0, 0, string("judge"), FATAL, 0, 0);
  const placed = place(file);
  const session = wasm._OrtCreateSession(placed, file.length, options);
  wasm._free(placed);
  check(session === 0);
  const counts = words([0, 0]);
  check(wasm._OrtGetInputOutputCount(session, counts, counts + 4));
  const names = [];
  for (let port = 0; port < word(counts) + word(counts + 4); port++) {
    const at = words([0, 0]);
    check(wasm._OrtGetInputOutputMetadata(session, port, at, at + 4));
    names.push(word(at));
  }
  const [inputs, outputs] = [names.slice(0, word(counts)), names.slice(word(counts))];
  return {
    inputs: inputs.map((at) => wasm.UTF8ToString(at)),
    outputs: outputs.map((at) => wasm.UTF8ToString(at)),
    run(tensors) {
      const results = words(outputs.map(() => 0));
      const given = words(tensors.map(put));
      check(wasm._OrtRun(session, words(inputs), given, tensors.length, words(outputs), outputs.length, results, 0));
      return outputs.map((_, output) => take(word(results + 4 * output)));
    },
    release: () => wasm._OrtReleaseSession(session),
  };
}

function put({ type, dims, data }) {
  const [at, size] = type === STRING ? [words(data.map(string)), 4 * data.length] : [place(data), data.length];
  const tensor = wasm._OrtCreateTensor(type, at, size, words(dims), dims.length, CPU);
  check(tensor === 0);
  return tensor;
}

function take(tensor) {
  const at = words([0, 0, 0, 0]);
  check(wasm._OrtGetTensorData(tensor, at, at + 4, at + 8, at + 12));
  const [type, start, dimsAt, rank] = [0, 4, 8, 12].map((offset) => word(at + offset));
  const dims = Array.from({ length: rank }, (_, axis) => word(dimsAt + 4 * axis));
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (type === STRING) {
    const data = Array.from({ length: count }, (_, element) => {
      const from = word(start + 4 * element);
      const to = element + 1 < count ? word(start + 4 * (element + 1)) : wasm.HEAPU8.indexOf(0, from);
      return Buffer.from(wasm.HEAPU8.slice(from, to));
    });
    return { type, dims, data };
  }
  const data = Buffer.from(wasm.HEAPU8.slice(start, start + count * SIZES[type]));
  if (type in FLOATS) makeNansOne(data, SIZES[type], ...FLOATS[type]);
  return { type, dims, data };
}

function makeNansOne(data, size, infinity, nan) {
  const read = {
    2: (from) => BigInt(data.readUInt16LE(from)),
    4: (from) => BigInt(data.readUInt32LE(from)),
    8: (from) => data.readBigUInt64LE(from),
  }[size];
  const magnitude = (1n << BigInt(8 * size - 1)) - 1n;
  const bytes = Array.from({ length: size }, (_, byte) => Number((nan >> BigInt(8 * byte)) & 255n));
  for (let from = 0; from < data.length; from += size) if ((read(from) & magnitude) > infinity) data.set(bytes, from);
}

/** A tensor of the Open Inference Protocol's JSON. */
export function fromJson({ datatype, shape, data }) {
  const [type, Store] = DATATYPES[datatype];
  if (type === STRING) return { type, dims: shape, data: data.map((text) => Buffer.from(text)) };
  const values = Store.from(datatype === "INT64" ? data.map(BigInt) : data);
  return { type, dims: shape, data: new Uint8Array(values.buffer) };
}

// Codes in packed tensors, by ONNX's numbers.
const CODES = { 1: 12, 2: 6, 3: 1, 4: 7, 5: 2, 6: 3, 7: 4, 8: 15, 9: 14, 10: 11, 11: 13, 12: 8, 13: 9, 16: 12 };
const BFLOAT16 = 16;

/** A tensor as traces and digests have it; Tensor::encode is the crate's. */
export function encode({ type, dims, data }) {
  const head = [Buffer.of(CODES[type], dims.length), ...dims.map(bigEndian)];
  if (type === STRING) return Buffer.concat([...head, ...data.flatMap((text) => [bigEndian(text.length), text])]);
  const bytes = Buffer.from(data);
  if (SIZES[type] === 2) bytes.swap16();
  if (SIZES[type] === 4) bytes.swap32();
  if (SIZES[type] === 8) bytes.swap64();
  if (type !== BFLOAT16) return Buffer.concat([...head, bytes]);
  const wide = Buffer.alloc(2 * bytes.length);
  for (let at = 0; at < bytes.length; at += 2) bytes.copy(wide, 2 * at, at, at + 2);
  return Buffer.concat([...head, wide]);
}

/** A number below 2^32 in four bytes. */
export function bigEndian(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}
