// The mutants of a Solidity source, for scripts/mutants: `{file, line, operator, from, to, text, before, after}`, where `text` takes the
// place of the characters `from` to `to`, and `before` and `after` are the lines around them.
//
// The source is read as `forge fmt` writes it. What a change makes of the types is for the compiler to say.
"use strict";

const swaps = {
  "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
  "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "&",
  "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "|=": "&=", "&=": "|=", "++": "--", "--": "++",
};
const relational = new Set(["<", "<=", ">", ">=", "==", "!="]);
const operator = /<<=|>>=|\*\*|=>|<<|>>|<=|>=|==|!=|&&|\|\||[+\-*/%|&^]=|\+\+|--|[<>+\-*/%&|^]/g;
const yulSwaps = { lt: "gt", gt: "lt", add: "sub", sub: "add", mul: "div", div: "mul", shl: "shr", shr: "shl", and: "or", or: "and" };
/** What stands between a function's parameters and its body and is no modifier of its own. */
const plain = /^(external|public|internal|private|view|pure|payable|virtual|override|returns|abstract|is)$/;
const keyword = /^(if|for|while|catch|returns|assembly|mapping|function|constructor|modifier|event|error|override|unchecked)$/;

/** The same text with blanks for comments, for what is in quotes, and for lines that hold no code. */
function masked(source) {
  const blank = (text) => text.replace(/[^\n]/g, " ");
  return source
    .replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, blank)
    .replace(/^(pragma|import|using|\s*using|\s*event|\s*error)\b[^;]*;/gm, blank);
}

/** The place of the bracket that closes the one at `open`. */
function closing(code, open) {
  let depth = 0;
  for (let i = open; i < code.length; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i]) && --depth === 0) return i;
  }
  return -1;
}

/** The places of what commas separate between two brackets. */
function parts(code, open, close) {
  const found = [];
  let from = open + 1;
  for (let i = from; i <= close; i++) {
    if ("([{".includes(code[i])) i = closing(code, i);
    else if (code[i] === "," || i === close) {
      found.push([from, i]);
      from = i + 1;
    }
  }
  return found;
}

/** The same text with a mark of its own for what ends an operand: `=` is an assignment, `∧` and `∨` are logical. */
const logic = (code) =>
  code.replace(/[=!<>]=|=>|&&|\|\||\breturn /g, (m) => ({ "&&": "∧∧", "||": "∨∨", "return ": "return;" })[m] ?? "~~");

/** The places of what stands left and right of the operator at `at`; `&&` binds tighter than `||`. */
function operands(code, at) {
  const end = code[at] === "∧" ? /[,;?:{}=∧∨]/ : /[,;?:{}=∨]/;
  let [from, to] = [at, at + 2];
  for (let depth = 0; depth > 0 || !end.test(code[from - 1]); from--) {
    if (")]".includes(code[from - 1])) depth++;
    if ("([".includes(code[from - 1]) && depth-- === 0) break;
  }
  for (; !end.test(code[to]) && !")]".includes(code[to]); to++) {
    if ("([".includes(code[to])) to = closing(code, to);
  }
  return [[from, at], [at + 2, to]].map(([a, b]) => [a + code.slice(a, b).search(/\S/), a + code.slice(a, b).trimEnd().length]);
}

function assemblies(code) {
  return [...code.matchAll(/\bassembly\b[^{]*\{/g)].map((m) => [m.index, closing(code, m.index + m[0].length - 1)]);
}

/** The statements of functions, as places: what ends with a semicolon, with the condition it hangs on. */
function statements(code) {
  const found = [];
  const blocks = [];
  let from = 0;
  for (let i = 0; i < code.length; i++) {
    const c = code[i];
    const option = c === "{" && /\S/.test(code[i - 1] ?? " "); // `call{value: 1}`
    if (c === "(" || c === "[" || option) {
      i = closing(code, i);
      continue;
    }
    if (c === "{") {
      const head = code.slice(from, i);
      const outer = /\b(contract|library|interface|struct|enum)\b/.test(head);
      blocks.push(!outer && (blocks.at(-1) || /\b(function|constructor|modifier|receive|fallback)\b/.test(head)));
    }
    if (c === "}") blocks.pop();
    if (c === ";" && blocks.at(-1)) found.push([from + code.slice(from).search(/\S/), i + 1]);
    if (";{}".includes(c)) from = i + 1;
  }
  return found;
}

const isDeclaration = (text) =>
  !/^(delete|return|emit|revert|if|else|for|while)\b/.test(text) && /^(\(?\w[\w.\[\]]*( (memory|calldata|storage|payable|transient))? \w+\s*[=;,)])/.test(text);

/** All mutants of a file. */
function mutantsOf(file, source) {
  const code = masked(source);
  const yul = assemblies(code);
  const inYul = (at) => yul.some(([from, to]) => from <= at && at < to);
  const found = [];
  const add = (name, from, to, text) => {
    const start = source.lastIndexOf("\n", from - 1) + 1;
    const end = source.indexOf("\n", to) < 0 ? source.length : source.indexOf("\n", to);
    const line = source.slice(0, from).split("\n").length;
    const [before, after] = [source.slice(start, end), source.slice(start, from) + text + source.slice(to, end)];
    found.push({ file, line, operator: name, from, to, text, before, after });
  };

  for (const m of code.matchAll(operator)) {
    const other = swaps[m[0]];
    if (other && !inYul(m.index)) add(relational.has(m[0]) ? "relation" : "arithmetic", m.index, m.index + m[0].length, other);
  }
  const marked = logic(code);
  for (const m of marked.matchAll(/∧∧|∨∨/g)) {
    const [left, right] = operands(marked, m.index);
    for (const [from, to] of [left, right]) add("dropped operand", left[0], right[1], source.slice(from, to));
  }
  for (const m of code.matchAll(/\b(lt|gt|add|sub|mul|div|shl|shr|and|or)(?=\()/g)) {
    if (inYul(m.index)) add("arithmetic", m.index, m.index + m[0].length, yulSwaps[m[0]]);
  }
  for (const m of code.matchAll(/(?<![\w.])(0x[0-9a-fA-F]+|\d[\d_]*)(?![\w.])/g)) {
    const value = BigInt(m[0].replaceAll("_", ""));
    for (const other of value > 0n ? [value + 1n, value - 1n] : [1n]) {
      const text = m[0].startsWith("0x") ? `0x${other.toString(16).padStart(m[0].length - 2, "0")}` : String(other);
      add("constant", m.index, m.index + m[0].length, text);
    }
  }
  for (const m of code.matchAll(/\b(true|false)\b/g)) {
    add("constant", m.index, m.index + m[0].length, m[0] === "true" ? "false" : "true");
  }

  for (const [from, to] of statements(code)) {
    if (!inYul(from) && !isDeclaration(code.slice(from, to))) add("deleted statement", from, to, "");
  }
  for (const m of code.matchAll(/^[ \t]*((?:mstore8?|calldatacopy|mcopy|sstore|tstore|revert|return)\(.*|\w+ := .*)$/gm)) {
    const from = m.index + m[0].indexOf(m[1]);
    if (inYul(from)) add("deleted statement", from, from + m[1].trimEnd().length, "");
  }

  for (const m of code.matchAll(/\b(if|while) (\()/g)) {
    const open = m.index + m[0].length - 1;
    const close = closing(code, open);
    if (!inYul(m.index)) add("negated condition", open, close + 1, `(!${source.slice(open, close + 1)})`);
  }
  for (const m of code.matchAll(/\breturn ([^;]+);/g)) {
    const type = /returns \(\s*(\w+)/.exec(code.slice(code.lastIndexOf("function ", m.index), m.index))?.[1] ?? "";
    const value = source.slice(m.index + 7, m.index + m[0].length - 1);
    const other = type === "bool" ? `!(${value})` : type === "address" ? "address(0)" : /^(u?int\d*|bytes\d+)$/.test(type) ? "0" : undefined;
    if (other !== undefined && other !== value) add("returned value", m.index + 7, m.index + m[0].length - 1, other);
  }
  for (const m of code.matchAll(/\b(\w+)\(/g)) {
    const defined = /\b(function|event|error|modifier|struct)\s+$/.test(code.slice(0, m.index));
    if (keyword.test(m[1]) || defined || (inYul(m.index) && /^(add|mul|and|or|eq|xor)$/.test(m[1]))) continue;
    const open = m.index + m[0].length - 1;
    const given = parts(code, open, closing(code, open)).map(([from, to]) => [from, to, source.slice(from, to).trim()]);
    for (let i = 1; i < given.length; i++) {
      const [a, b] = [given[i - 1], given[i]];
      if (a[2] === b[2]) continue;
      add("swapped arguments", a[0], b[1], `${b[2]}, ${a[2]}`);
      add("repeated argument", a[0], b[1], `${a[2]}, ${a[2]}`);
    }
  }
  for (const m of code.matchAll(/\bfunction \w+(\()/g)) {
    const close = closing(code, m.index + m[0].length - 1);
    const head = code.slice(close + 1, close + 1 + code.slice(close + 1).search(/[{;]/)).replace(/\([^)]*\)/g, (inner) => " ".repeat(inner.length));
    for (const word of head.matchAll(/\b[a-z]\w*\b/g)) {
      if (!plain.test(word[0])) add("removed modifier", close + 1 + word.index, close + 1 + word.index + word[0].length, "");
    }
  }
  return found;
}

module.exports = { mutantsOf };
