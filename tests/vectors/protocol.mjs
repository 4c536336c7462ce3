#!/usr/bin/env node
// Writes requests.json, statements.json, results.json and ranks.json beside itself: how requests are packed and named,
// what is signed, what an answer leaves behind, and who may answer when. Written from docs/protocol.md alone, with big integers and one keccak256; neither the
// contracts nor the relayer went into it. Run it again after a change; `--check` compares and writes nothing.
import { readFileSync, writeFileSync } from "node:fs";
import sha3 from "js-sha3";

const bytes = (hex) => Uint8Array.from(Buffer.from(hex.replace(/^0x/, ""), "hex"));
const keccak = (hex) => "0x" + sha3.keccak256(bytes(hex));
const keccakText = (text) => "0x" + sha3.keccak256(text);
const join = (...parts) => "0x" + parts.map((part) => part.replace(/^0x/, "")).join("");
const max = (bits) => (1n << BigInt(bits)) - 1n;

/** An unsigned integer, or a hex string as it is, in so many bytes. */
function word(value, size = 32) {
  const hex = typeof value === "string" && value.startsWith("0x") ? value.slice(2) : BigInt(value).toString(16);
  if (hex.length > 2 * size) throw new RangeError(`${value} does not fit ${size} bytes`);
  return "0x" + hex.padStart(2 * size, "0");
}

/** Random numbers that are the same at every run. */
let draws = 0;
const random = (size) => keccakText(`vector ${draws++}`).slice(0, 2 + 2 * size);
const randomBelow = (limit) => BigInt(random(32)) % BigInt(limit);

// Requests

const FIELDS = {
  modelId: [32], inputHash: [32],
  consumer: [20], nonce: [8], seatCount: [4],
  refundTo: [20], fee: [12],
  token: [20], submitFee: [12],
  valueAtRisk: [12], requestBlock: [5], callbackGasLimit: [4], outputMask: [2], version: [2], deadlineBlocks: [2],
  // The last two have no more values than these.
  inputKind: [1, 3n], outputWidth: [1], outputDecimals: [1], quorum: [1], level: [1, 2n],
};
const WORDS = [
  ["modelId"], ["inputHash"], ["consumer", "nonce", "seatCount"], ["refundTo", "fee"], ["token", "submitFee"],
  ["valueAtRisk", "requestBlock", "callbackGasLimit", "outputMask", "version", "deadlineBlocks", "inputKind",
    "outputWidth", "outputDecimals", "quorum", "level"],
];
const isHex = (name) => FIELDS[name][0] >= 20;
const isNumber = (name) => FIELDS[name][0] <= 5;
const ofAll = (value) => Object.fromEntries(Object.keys(FIELDS).map((name) => [name, value(name, ...FIELDS[name])]));

const zero = ofAll(() => 0n);
const most = ofAll((name, size, values) => (values ? values - 1n : max(8 * size)));
const some = () => ofAll((name, size, values) => (values ? randomBelow(values) : BigInt(random(size))));
const usual = () => ({
  ...zero, modelId: BigInt(random(32)), inputHash: BigInt(random(32)), consumer: BigInt(random(20)), nonce: 41n,
  seatCount: 3n, refundTo: BigInt(random(20)), fee: 10n ** 15n, submitFee: 10n ** 14n, requestBlock: 23_000_000n,
  callbackGasLimit: 100_000n, version: 1n, deadlineBlocks: 300n, outputWidth: 4n, outputDecimals: 6n, quorum: 1n,
});

/** As it stands in the file: hex for hashes and accounts, numbers where every reader holds them, else decimal strings. */
const shown = (name, value) =>
  isHex(name) ? word(value, FIELDS[name][0]) : isNumber(name) ? Number(value) : value.toString();

function request(name, fields, chainId, coordinator) {
  const words = WORDS.map((names) => join(...names.map((field) => word(fields[field], FIELDS[field][0]))));
  return {
    name, chainId: chainId.toString(), coordinator, fields: ofAll((field) => shown(field, fields[field])), words,
    id: keccak(join(word(chainId), word(coordinator), ...words)),
  };
}

const ONES = word(max(160), 20);
const ZERO = word(0n, 20);
const HOME = random(20);

function requests() {
  const cases = [
    request("all zero", zero, 0n, ZERO),
    request("all at their most", most, max(64), ONES),
    request("all zero on a real chain", zero, 1n, HOME),
    request("all at their most on a real chain", most, 1n, HOME),
  ];
  const base = usual();
  cases.push(request("a usual request", base, 31337n, HOME));
  cases.push(request("the same on another chain", base, 31338n, HOME));
  cases.push(request("the same at another coordinator", base, 31337n, random(20)));
  cases.push(request("the next of the same consumer", { ...base, nonce: 42n }, 31337n, HOME));
  for (const field of Object.keys(FIELDS)) {
    cases.push(request(`only ${field} at its most`, { ...zero, [field]: most[field] }, 31337n, HOME));
    cases.push(request(`only ${field} zero`, { ...most, [field]: 0n }, 31337n, HOME));
  }
  for (let i = 0; i < 12; ++i) cases.push(request(`random ${i}`, some(), BigInt(random(8)), random(20)));
  return { cases };
}

// Statements

const typeHash = keccakText;
const separator = (chainId, coordinator) =>
  keccak(join(
    typeHash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
    keccakText("Oraculum"), keccakText("2"), word(chainId), word(coordinator),
  ));
const digest = (domain, struct) => keccak(join("0x1901", domain, keccak(struct)));

const STATEMENT =
  "Statement(bytes32 requestId,bytes32 blockHash,bytes32 inputHash,uint8 outcome,bytes32 outputCommitment,uint32 seat)";

function statement(name, [requestId, blockHash, inputHash, outcome, outputCommitment, seat], chainId, coordinator) {
  const struct = join(typeHash(STATEMENT), requestId, blockHash, inputHash, word(outcome), outputCommitment, word(seat));
  return {
    name, chainId: chainId.toString(), coordinator, requestId, blockHash, inputHash, outcome, outputCommitment, seat,
    digest: digest(separator(chainId, coordinator), struct),
  };
}

function signer(owner, chainId, coordinator) {
  const domain = separator(chainId, coordinator);
  return {
    chainId: chainId.toString(), coordinator, owner, separator: domain,
    digest: digest(domain, join(typeHash("Signer(address owner)"), word(owner))),
  };
}

function statements() {
  const none = word(0n);
  const full = word(max(256));
  const noBytes = keccak("0x");
  const base = [random(32), random(32), random(32), 0, random(32), 7];
  const most = Number(max(32));
  const cases = [
    statement("all zero", [none, none, none, 0, none, 0], 0n, ZERO),
    statement("all at their most", [full, full, full, 2, full, most], max(64), ONES),
    statement("a usual answer", base, 31337n, HOME),
    statement("the same on another chain", base, 31338n, HOME),
    statement("the same at another coordinator", base, 31337n, random(20)),
    statement("bad input", [base[0], base[1], base[2], 1, noBytes, 7], 31337n, HOME),
    statement("unrepresentable", [base[0], base[1], base[2], 2, noBytes, 7], 31337n, HOME),
  ];
  const small = { outcome: [1, 2], seat: [8, most] };
  for (const [at, field] of ["requestId", "blockHash", "inputHash", "outcome", "outputCommitment", "seat"].entries()) {
    const other = [...base];
    other[at] = small[field]?.[0] ?? random(32);
    cases.push(statement(`another ${field}`, other, 31337n, HOME));
    const only = [none, none, none, 0, none, 0];
    only[at] = small[field]?.[1] ?? full;
    cases.push(statement(`only ${field} at its most`, only, 31337n, HOME));
  }
  for (let i = 0; i < 9; ++i) {
    const fields = [random(32), random(32), random(32), i % 3, random(32), Number(randomBelow(1n << 32n))];
    cases.push(statement(`random ${i}`, fields, BigInt(random(8)), random(20)));
  }
  const signers = [signer(ZERO, 0n, ZERO), signer(ONES, max(64), ONES), signer(HOME, 31337n, HOME)];
  for (let i = 0; i < 5; ++i) signers.push(signer(random(20), BigInt(random(8)), random(20)));
  return { cases, signers };
}

// Results

/** What an answer leaves: the bytes of its event, and the hash that the status word keeps above its flags. */
function result(name, outcome, seats, output, fulfilledAt) {
  const list = seats.map((seat) => word(seat, 4));
  const outputCommitment = keccak(output);
  const hash = keccak(join(word(outcome, 1), word(fulfilledAt, 8), outputCommitment, ...list));
  return {
    name, outcome, seats: join(...list), output, outputCommitment, fulfilledAt: fulfilledAt.toString(),
    answer: join(word(outcome, 1), word(seats.length, 1), ...list, output),
    hash: word(BigInt(hash) & max(248)),
  };
}

function results() {
  const top = Number(max(32));
  const cases = [
    result("all zero", 0, [0], "0x", 0n),
    result("all at their most", 2, Array(16).fill(top), "0x", max(64)),
    result("a usual answer", 0, [1], random(24), 23_000_001n),
    result("bad input", 1, [1], "0x", 23_000_001n),
    result("one byte of output", 0, [2], "0xff", 1n),
  ];
  for (const count of [1, 2, 6, 7, 8, 15, 16]) {
    const seats = Array.from({ length: count }, () => Number(randomBelow(1n << 32n)));
    const output = join(...Array.from({ length: 1 + (count % 5) }, () => random(1 + (count * 7) % 32)));
    cases.push(result(`${count} signers`, 0, seats, output, randomBelow(1n << 64n)));
  }
  return { cases };
}

// Ranks

function rank(seed, seat, n) {
  return n <= 16n ? shuffled(BigInt(seed), seat, n) : feistel(seed, seat, n);
}

function shuffled(seed, seat, n) {
  // The whole list, unlike the contract and the relayer, which follow one element.
  const places = Array.from({ length: Number(n) }, (_, place) => place);
  for (let i = Number(n) - 1; i >= 1; --i) {
    const j = Number(((seed >> BigInt(16 * (i - 1))) & 0xffffn) % BigInt(i + 1));
    [places[i], places[j]] = [places[j], places[i]];
  }
  // Following a seat through the swaps ends at the place where the list has it.
  return BigInt(places.indexOf(Number(seat)));
}

function feistel(seed, seat, n) {
  const bits = (n - 1n).toString(2).length;
  const a = 1n << BigInt(Math.floor((bits + 1) / 2));
  const b = (n + a - 1n) / a;
  const f = (round, value) => BigInt(keccak(join(seed, word((BigInt(round) << 32n) | value)))) & max(64);
  let x = seat;
  do {
    let [left, right] = [x / b, x % b];
    for (let round = 0; round < 12; ++round) {
      if (round % 2 === 0) left = (left + f(round, right)) % a;
      else right = (right + f(round, left)) % b;
    }
    x = left * b + right;
  } while (x >= n);
  return x;
}

function draw(n, [blockHash, requestId]) {
  return { n: Number(n), blockHash, requestId, seed: keccak(join(blockHash, requestId)) };
}

function ranks() {
  const none = [word(0n), word(0n)];
  const full = [word(max(256)), word(max(256))];
  const permutations = [];
  for (const n of [...Array.from({ length: 20 }, (_, i) => i + 1), 33, 100]) {
    for (const keys of [none, full, [random(32), random(32)]]) {
      const d = draw(n, keys);
      const list = Array.from({ length: n }, (_, seat) => Number(rank(d.seed, BigInt(seat), BigInt(n))));
      if (new Set(list).size !== n) throw new Error(`not a permutation: ${n}`);
      permutations.push({ ...d, ranks: list });
    }
  }
  const pairs = [];
  for (const n of [101n, 255n, 256n, 257n, 1000n, 4096n, 65535n, 65536n, 65537n, 10n ** 6n, max(31), 1n << 31n, max(31) + 2n,
    10n ** 9n, max(32) - 1n, max(32)]) {
    for (const keys of [none, [random(32), random(32)]]) {
      const d = draw(n, keys);
      const seats = [0n, 1n, n / 2n, n - 2n, n - 1n, randomBelow(n), randomBelow(n)];
      pairs.push({ ...d, seats: seats.map(Number), ranks: seats.map((seat) => Number(rank(d.seed, seat, n))) });
    }
  }
  return { permutations, pairs };
}

/** One case a line, so that a change shows as the cases it changes. */
const lines = (file) =>
  "{\n" +
  Object.entries(file).map(([key, list]) =>
    `  ${JSON.stringify(key)}: [\n${list.map((item) => "    " + JSON.stringify(item)).join(",\n")}\n  ]`).join(",\n") +
  "\n}\n";

const check = process.argv.includes("--check");
for (const [name, make] of Object.entries({ requests, statements, results, ranks })) {
  const path = new URL(`${name}.json`, import.meta.url);
  const text = lines(make());
  if (!check) writeFileSync(path, text);
  else if (readFileSync(path, "utf8") !== text) {
    console.error(`${name}.json is not what protocol.mjs makes: run node tests/vectors/protocol.mjs`);
    process.exitCode = 1;
  }
}
