// Runs a model for the Python scripts: in the canonical judge, which gives golden vectors the same bits on every machine, or in
// npm's onnxruntime-node, whose bits are the processor's.
//
// Standard input:  {"model": path, "engine": "judge", "cases": [[tensor, …], …]}
//                  {"model": path, "engine": "native", "optimization": "basic", "cases": [[tensor, …], …]}
// Standard output: {"runtime": "onnxruntime-wasm=1.30.0;sha256=…", "milliseconds": of all runs, "outputs": [[tensor, …], …]}
// Tensors are Open Inference Protocol tensors. JSON prints the shortest decimal that parses back to the same double, so
// FP32 values survive exactly. NaN and the infinities, which JSON lacks, become the strings "NaN", "Infinity", "-Infinity".
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { DATATYPES, RUNTIME, fromJson, load } from "../../relayer/judge/tests/host.mjs";

const NATIVE = { FP32: "float32", INT64: "int64", UINT8: "uint8", INT8: "int8", BOOL: "bool", BYTES: "string" };

function json(name, datatype, shape, values) {
  const data = Array.from(values, (value) => {
    if (typeof value === "bigint") return Number(value);
    // JSON.stringify would print it without its sign.
    if (Object.is(value, -0)) throw new Error(`${name} has a negative zero`);
    return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  });
  return { name, shape, datatype, data };
}

function judge(file) {
  const model = load(file);
  const names = Object.fromEntries(Object.entries(DATATYPES).map(([name, [type]]) => [type, name]));
  return {
    runtime: RUNTIME,
    run(tensors) {
      const outputs = model.run(model.inputs.map((name) => fromJson(tensors.find((tensor) => tensor.name === name))));
      return outputs.map(({ type, dims, data }, output) => {
        const [, Store] = DATATYPES[names[type]];
        const values = Store ? new Store(Uint8Array.from(data).buffer) : data.map(String);
        return json(model.outputs[output], names[type], dims, values);
      });
    },
  };
}

async function native(file, graphOptimizationLevel) {
  const { default: ort } = await import("onnxruntime-node");
  const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json");
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel,
  });
  const names = Object.fromEntries(Object.entries(NATIVE).map(([name, type]) => [type, name]));
  const tensor = ({ datatype, shape, data }) => {
    const [, Store] = DATATYPES[datatype];
    const values = Store ? Store.from(datatype === "INT64" ? data.map(BigInt) : data) : data;
    return new ort.Tensor(NATIVE[datatype], values, shape);
  };
  return {
    runtime: `onnxruntime=${version}`,
    async run(tensors) {
      const results = await session.run(Object.fromEntries(tensors.map((given) => [given.name, tensor(given)])));
      return session.outputNames.map((name) => {
        const { type, dims, data } = results[name];
        return json(name, names[type], [...dims], data);
      });
    },
  };
}

const job = JSON.parse(readFileSync(0, "utf8"));
const file = readFileSync(job.model);
const engine = job.engine === "native" ? await native(file, job.optimization) : judge(file);
const outputs = [];
const started = performance.now();
for (const inputs of job.cases) outputs.push(await engine.run(inputs));
const milliseconds = Math.round(performance.now() - started);
process.stdout.write(JSON.stringify({ runtime: engine.runtime, milliseconds, outputs }));
