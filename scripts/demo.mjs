// Plays ./scripts/demo: starts `oraculum dev`, asks the iris classifier as a user's wallet would, and reads its storage.

import { spawn, execFileSync } from "node:child_process";
import { createInterface } from "node:readline";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { readFileSync } from "node:fs";

const SPECIES = ["unknown", "setosa", "versicolor", "virginica"];
/** An iris virginica of the data set, in millimetres: sepal length and width, petal length and width. */
const FLOWER = [63, 33, 60, 25];
const EXPECTED = "virginica";
const PATIENCE_MS = 30_000;

const cast = (...words) => execFileSync("scripts/tool", ["cast", ...words], { encoding: "utf8" }).trim();
const say = (text = "") => console.log(text);
const gas = (quantity) => Number(quantity).toLocaleString("en");

/** Starts `oraculum dev` on a free port and waits for the addresses that it prints when it is ready. */
async function start() {
  const dev = spawn("target/debug/oraculum", ["dev", "--port", "0", "--json", "--log", "error"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.on("exit", () => dev.kill("SIGTERM"));
  const ended = new Promise((_, reject) =>
    dev.once("exit", (code) => reject(new Error(`oraculum dev ended with exit code ${code}; its words are above`))),
  );
  ended.catch(() => {});
  const json = (async () => {
    let text = "";
    for await (const line of createInterface({ input: dev.stdout })) {
      text += line;
      try {
        return JSON.parse(text);
      } catch {
        // An object over several lines: not whole yet.
      }
    }
    return ended;
  })();
  return { dev, deployment: await Promise.race([json, ended]) };
}

/** A JSON-RPC call to the local chain. */
async function rpc(url, method, params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

/** Asks until the answer is not null. */
async function until(what, ask) {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`no ${what} within ${PATIENCE_MS / 1000} s`);
    await sleep(1);
  }
}

async function play({ rpcUrl, coordinator, consumers, models, user, nodes }) {
  const iris = models.find((model) => model.name === "iris/v1");
  const { sha256 } = JSON.parse(readFileSync("onnx-models/iris/card.json", "utf8"));
  const consumer = consumers.irisClassifier;
  say(`A chain runs at ${rpcUrl}, with a coordinator at ${coordinator}.`);
  say(`A node with a bonded seat serves ${models.map((model) => model.name).join(", ")}; its owner is ${nodes[0].owner}.`);
  say();
  say(`1. The model is ${iris.name}: card ${iris.modelId},`);
  say(`   an ONNX file with SHA-256 ${sha256}.`);

  const topic = cast("keccak", "Fulfilled(bytes32,bytes)");
  const data = cast("calldata", "classify(int32[4])", `[${FLOWER}]`);
  const transaction = { from: user, to: consumer, data, value: "0x" + (10n ** 14n).toString(16) };
  const hash = await rpc(rpcUrl, "eth_sendTransaction", [transaction]);
  const asked = await until("receipt", () => rpc(rpcUrl, "eth_getTransactionReceipt", [hash]));
  const began = performance.now();
  if (asked.status !== "0x1") throw new Error(`the request ${hash} reverted`);
  say(`2. ${user} asks the contract ${consumer}`);
  say(`   which iris measures ${FLOWER.map((size) => size / 10).join(", ")} cm, with a fee of 0.0001 ETH.`);
  say(`   in transaction ${hash}, block ${Number(asked.blockNumber)}, ${gas(asked.gasUsed)} gas`);

  const filter = { address: coordinator, fromBlock: asked.blockNumber, topics: [topic] };
  const [log] = await until("answer", async () => {
    const logs = await rpc(rpcUrl, "eth_getLogs", [filter]);
    return logs.length > 0 && logs;
  });
  const took = performance.now() - began;
  const answered = await rpc(rpcUrl, "eth_getTransactionReceipt", [log.transactionHash]);
  say(`3. The node runs the model, signs, and answers ${took.toFixed(0)} ms later, ${Number(answered.blockNumber) - Number(asked.blockNumber)} block after the request.`);
  say(`   in transaction ${log.transactionHash}, block ${Number(answered.blockNumber)}, ${gas(answered.gasUsed)} gas`);

  const stored = cast("call", consumer, "latest()(uint8,uint48)", "--rpc-url", rpcUrl).split("\n");
  const species = SPECIES[Number(stored[0])];
  say(`4. The contract's storage now says: iris ${species}.`);
  if (species !== EXPECTED) throw new Error(`the right answer is ${EXPECTED}`);
  say();
  say(`Right. The round trip cost ${gas(Number(asked.gasUsed) + Number(answered.gasUsed))} gas, the first of this contract, which is dearer than later ones.`);
}

const { dev, deployment } = await start().catch((error) => {
  console.error(`demo: ${error.message}`);
  process.exit(1);
});
let failed = false;
try {
  await play(deployment);
} catch (error) {
  console.error(`demo: ${error.message}`);
  failed = true;
}
const gone = new Promise((resolve) => dev.once("exit", resolve));
dev.kill("SIGTERM");
await gone;
process.exit(failed ? 1 : 0);
