// Runs a model with npm's onnxruntime-node under the reference profile, so that golden vectors come from the runtime
// that the project installs.
//
// Standard input:  {"model": path, "optimization": "basic", "cases": [[tensor, …], …]}
// Standard output: {"runtime": "onnxruntime 1.30.0", "outputs": [[tensor, …], …]}
// Tensors are Open Inference Protocol tensors. JSON prints the shortest decimal that parses back to the same double, so
// FP32 values survive exactly. NaN and the infinities, which JSON lacks, become the strings "NaN", "Infinity", "-Infinity".
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import ort from "onnxruntime-node";

const TYPES = {
  FP32: ["float32", Float32Array],
  INT64: ["int64", BigInt64Array],
  UINT8: ["uint8", Uint8Array],
  INT8: ["int8", Int8Array],
  BOOL: ["bool", Uint8Array],
  BYTES: ["string", Array],
};
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, [type]]) => [type, name]));

function toTensor({ datatype, shape, data }) {
  const [type, Store] = TYPES[datatype];
  if (Store === Array) return new ort.Tensor(type, data, shape);
  return new ort.Tensor(type, Store.from(datatype === "INT64" ? data.map(BigInt) : data), shape);
}

function fromTensor(name, tensor) {
  const data = Array.from(tensor.data, (value) => {
    if (typeof value === "bigint") return Number(value);
    return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  });
  return { name, shape: [...tensor.dims], datatype: NAMES[tensor.type], data };
}

const job = JSON.parse(readFileSync(0, "utf8"));
const session = await ort.InferenceSession.create(readFileSync(job.model), {
  executionProviders: ["cpu"],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: job.optimization ?? "basic",
});
const outputs = [];
const started = performance.now();
for (const inputs of job.cases) {
  const feeds = Object.fromEntries(inputs.map((tensor) => [tensor.name, toTensor(tensor)]));
  const results = await session.run(feeds);
  outputs.push(session.outputNames.map((name) => fromTensor(name, results[name])));
}
const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json");
process.stdout.write(
  JSON.stringify({ runtime: `onnxruntime ${version}`, milliseconds: Math.round(performance.now() - started), outputs }),
);
