// Pieces are scripts that call these functions, since a page on a disk may fetch nothing.
const PAGE_ROWS = 40, AT_ONCE = 400000, LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const pieces = [], images = {}, loading = {};
function receive(number, content) { pieces[number] = content; }
function receiveImages(name, found) { images[name] = found; }
function load(file) {
  return loading[file] ??= new Promise((done, fail) => {
    const script = Object.assign(document.createElement("script"), { src: file, onload: done });
    script.onerror = () => { delete loading[file]; script.remove(); fail(new Error(`${file} beside this page can't be read`)); };
    document.head.append(script);
  });
}
const unpack = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
function make(tag, properties = {}, ...children) {
  const { data, role, ...rest } = properties, element = Object.assign(document.createElement(tag), rest);
  if (data) for (const [name, value] of Object.entries(data)) element.setAttribute(name, value);
  if (role) element.setAttribute("role", role);
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
const isolate = text => make("bdi", { textContent: text });

// An exam is a test that a held-out question's arms took; a column is an arm, or one variant of it.
const exams = index.exams.map(([name, isTarget, piece, place, size]) => ({ name, isTarget, piece, place, size, columns: null }));
function open(exam) {
  if (exam.columns) return;
  const piece = pieces[exam.piece], plain = piece.exams[exam.place], test = piece.tests[plain.test];
  if (test.answer && !test.right) test.right = unpack(test.answer);
  Object.assign(exam, { test, images: index.images[plain.images], columns: new Map(), known: {} });
  const variants = {};
  for (const sitting of plain.sittings) {
    const seen = variants[sitting.arm] ??= [];
    if (!seen.includes(sitting.variant)) seen.push(sitting.variant);
    const key = `${sitting.arm}-${seen.indexOf(sitting.variant)}`;
    if (!exam.columns.has(key)) exam.columns.set(key, { variant: sitting.variant, sittings: [] });
    exam.columns.get(key).sittings.push({ ...sitting, given: unpack(sitting.given), sure: unpack(sitting.sure) });
  }
}
const isRight = (test, given, q) => test.boxes ? given >= 50 : given === test.right[q];

// Over the seeds that are looked at: how many are right, what most chose, whether they differ, how sure they are.
function sum(exam, key) {
  return exam.known[`${key}/${state.seed}`] ??= (() => {
    const column = exam.columns.get(key);
    const sittings = column ? column.sittings.filter(one => state.seed === "" || one.seed === null || String(one.seed) === state.seed) : [];
    if (!sittings.length) return null;
    const count = exam.test.ids.length, right = new Uint16Array(count), top = new Uint8Array(count), differ = new Uint8Array(count), sure = new Float32Array(count);
    const votes = new Uint16Array(256);
    for (let q = 0; q < count; q++) {
      let total = 0, told = 0, most = 0;
      for (const one of sittings) {
        const given = exam.test.boxes ? Number(one.given[q] >= 50) : one.given[q];
        if (isRight(exam.test, one.given[q], q)) right[q]++;
        if (++votes[given] > most) { most = votes[given]; top[q] = given; }
        if (one.sure[q] !== index.none) { total += one.sure[q]; told++; }
      }
      differ[q] = most < sittings.length ? 1 : 0;
      for (const one of sittings) votes[exam.test.boxes ? Number(one.given[q] >= 50) : one.given[q]] = 0;
      sure[q] = told ? total / told : -1;
    }
    return { sittings, right, top, differ, sure, variant: column.variant };
  })();
}

// What is looked at; the address holds it, so that a view can be passed on.
const RESULTS = { "": "all answers", right: "right in every seed", wrong: "wrong in every seed", mixed: "right in some seeds only" };
const AGREE = { "": "any", arms: "shown arms disagree", seeds: "seeds of an arm disagree", none: "all agree" };
const started = index.exams.reduce((total, exam) => total + exam[1] * exam[4], 0) > AT_ONCE ? "0" : "";
const state = { exam: started, label: "", text: "", seed: "", agree: "", of: "", min: "", max: "", arms: "", sort: "", down: "", page: "0", large: "", ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
if (state.exam && !exams[state.exam]) state.exam = started;
function keep() {
  const told = Object.entries(state).filter(([name, value]) => value !== "" && value !== "0" || name === "exam" && value !== started);
  try { history.replaceState(null, "", "#" + new URLSearchParams(told)); } catch { /* an address that may not change */ }
}
const selected = () => state.exam === "" ? exams.filter(exam => exam.isTarget || !exams[0].isTarget) : [exams[state.exam]];

function listColumns(chosen) {
  const found = new Map();
  for (const exam of chosen) for (const [key, column] of exam.columns) {
    if (!found.has(key)) found.set(key, new Set());
    found.get(key).add(column.variant);
  }
  return [...found].map(([key, variants]) => {
    const [arm, place] = key.split("-").map(Number), [words, colour, isHeadline] = index.arms[arm], [variant] = variants;
    const isOne = variants.size === 1, number = found.has(`${arm}-1`) ? place + 1 : "";
    return { key, arm, place, colour, isHeadline, isOne, name: `${words} ${isOne ? variant : number}`.trim() };
  }).sort((a, b) => a.arm - b.arm || a.place - b.place);
}
function listShown(columns) {
  const wanted = state.arms ? state.arms.split(" ") : columns.filter(column => column.isHeadline).map(column => column.key);
  const shown = columns.filter(column => wanted.includes(column.key));
  return shown.length ? shown : columns;
}

// Filters and order give the rows of a view, as pairs of an exam and a question.
function fits(result, part, q) {
  if (!result) return true;
  if (!part) return false;
  const right = part.right[q], all = part.sittings.length;
  return result === "right" ? right === all : result === "wrong" ? right === 0 : right > 0 && right < all;
}
function agrees(parts, q) {
  if (!state.agree) return true;
  const told = parts.filter(Boolean), seedsDiffer = told.some(part => part.differ[q]);
  const armsDiffer = told.some(part => part.top[q] !== told[0].top[q]);
  return state.agree === "arms" ? armsDiffer : state.agree === "seeds" ? seedsDiffer : !armsDiffer && !seedsDiffer;
}
const rightText = (test, q) => test.boxes ? "" : test.sets[test.set[q]][test.right[q]];
function find(chosen, shown) {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean), rows = [];
  const min = state.min === "" ? -Infinity : Number(state.min), max = state.max === "" ? Infinity : Number(state.max), bounded = state.min !== "" || state.max !== "";
  for (const exam of chosen) {
    const test = exam.test, parts = shown.map(column => sum(exam, column.key)), results = shown.map(column => state["result-" + column.key] ?? "");
    const told = parts.filter(Boolean), of = state.of ? [sum(exam, state.of)].filter(Boolean) : told;
    const isSure = part => q => part.sure[q] >= 0 && part.sure[q] >= min && part.sure[q] <= max;
    const sureness = of.map(isSure), asked = words.length ? test.ids.map((id, q) => `${test.texts[test.text[q]]} ${test.boxes ? "" : test.sets[test.set[q]].join(" ")} ${test.start}${id}`.toLowerCase()) : null;
    for (let q = 0; q < test.ids.length; q++) {
      if (state.label && rightText(test, q) !== state.label) continue;
      if (asked && !words.every(word => asked[q].includes(word))) continue;
      if (!results.every((result, place) => fits(result, parts[place], q))) continue;
      if (!agrees(parts, q)) continue;
      if (bounded && !sureness.some(holds => holds(q))) continue;
      rows.push([exam, q]);
    }
  }
  return order(rows);
}
function order(rows) {
  if (!state.sort) return state.down ? rows.reverse() : rows;
  const value = state.sort === "right" ? ([exam, q]) => rightText(exam.test, q) : ([exam, q]) => sum(exam, state.sort)?.sure[q] ?? -1;
  const keyed = rows.map((row, place) => [value(row), place, row]), sign = state.down ? -1 : 1;
  const compare = state.sort === "right" ? (a, b) => a.localeCompare(b) : (a, b) => a - b;
  return keyed.sort((a, b) => sign * compare(a[0], b[0]) || a[1] - b[1]).map(one => one[2]);
}

// Drawing.
const [form, head, body] = ["form", "thead", "tbody"].map(name => document.querySelector(name));
const status = document.querySelector("[role=status]"), pager = document.querySelector(".state nav"), clear = document.querySelector("#clear");
function choose(name, label, options) {
  const field = make("select", { name });
  for (const [value, text] of options) field.append(value === null ? make("hr") : make("option", { value, textContent: text }));
  field.value = state[name] ?? "";
  if (field.selectedIndex < 0) { state[name] = ""; field.value = ""; }
  field.addEventListener("change", () => set(name, field.value));
  return label ? make("label", {}, label, field) : field;
}
function type(name, kind, more) {
  const field = make("input", { name, type: kind, value: state[name], ...more });
  let timer;
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => set(name, field.value, false), 150); });
  return field;
}
function set(name, value, rebuilds = true) {
  state[name] = value;
  state.page = "0";
  if (name === "exam") for (const other of Object.keys(state)) if (other.startsWith("result-") || ["arms", "label", "seed", "of", "sort", "down"].includes(other)) state[other] = "";
  show(rebuilds);
}
function drawForm(chosen, columns, shown) {
  const focus = document.activeElement?.form === form ? document.activeElement.name + "/" + document.activeElement.value : null;
  const labels = new Set(), seeds = new Set();
  for (const exam of chosen) {
    if (!exam.test.boxes) exam.labels ??= [...new Set(exam.test.ids.map((_, q) => rightText(exam.test, q)))];
    for (const label of exam.labels ?? []) labels.add(label);
    for (const column of exam.columns.values()) for (const one of column.sittings) if (one.seed !== null) seeds.add(one.seed);
  }
  const named = exams.map((exam, place) => [String(place), exam.name]), own = exams.filter(exam => exam.isTarget).length;
  if (own && own < named.length) named.splice(own, 0, [null]);
  const boxes = columns.map(column => {
    const box = make("input", { type: "checkbox", name: "arms", value: column.key, checked: shown.includes(column) });
    box.addEventListener("change", () => set("arms", [...form.querySelectorAll("[name=arms]:checked")].map(one => one.value).join(" ")));
    return make("label", { className: "beside" }, box, column.name);
  });
  const large = make("input", { type: "checkbox", name: "large", checked: state.large === "1" });
  large.addEventListener("change", () => set("large", large.checked ? "1" : ""));
  form.replaceChildren(
    choose("exam", "held-out question", [["", "all of them"], ...named]),
    choose("label", "right answer", [["", "any"], ...[...labels].sort().map(label => [label, label])]),
    choose("agree", "agreement", Object.entries(AGREE)),
    choose("seed", "seed", [["", "all"], ...[...seeds].sort((a, b) => a - b).map(seed => [String(seed), String(seed)])]),
    make("div", { className: "group", role: "group", ariaLabel: "confidence in percent" }, "confidence in percent", make("span", { className: "span" },
      type("min", "number", { min: 0, max: 100, placeholder: "from", ariaLabel: "confidence from" }), type("max", "number", { min: 0, max: 100, placeholder: "to", ariaLabel: "confidence to" }),
      Object.assign(choose("of", "", [["", "of any shown arm"], ...columns.map(column => [column.key, "of " + column.name])]), { ariaLabel: "confidence of" }))),
    make("label", {}, "words", type("text", "search", { placeholder: "in question, options, id" })),
    make("fieldset", {}, make("legend", { textContent: "arms side by side" }), ...boxes, make("label", { className: "beside push", hidden: !hasImages }, large, "large images")));
  if (focus) [...form.elements].find(one => one.name + "/" + one.value === focus)?.focus();
}
function drawHead(shown, rows) {
  const focus = head.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const sortable = (key, ...content) => {
    const button = make("button", { type: "button", data: { "data-key": "sort-" + key } }, ...content);
    button.addEventListener("click", () => { const isDown = state.sort === key && !state.down; Object.assign(state, { sort: key, down: isDown ? "1" : "", page: "0" }); show(); });
    return button;
  };
  const cell = (className, key, ...content) => make("th", { className, scope: "col", role: "columnheader", data: state.sort === key ? { "aria-sort": state.down ? "descending" : "ascending" } : {} }, ...content);
  const cells = shown.map(column => {
    let right = 0, asked = 0;
    for (const [exam, q] of rows) { const part = sum(exam, column.key); if (part) { right += part.right[q]; asked += part.sittings.length; } }
    const result = choose("result-" + column.key, "", Object.entries(RESULTS));
    result.setAttribute("aria-label", `answers of ${column.name}`);
    result.dataset.key = "result-" + column.key;
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = column.colour;
    const button = sortable(column.key, swatch, column.name);
    button.title = "sort by confidence";
    return cell("arm", column.key, button, " ", make("small", { textContent: asked ? `${Math.round(100 * right / asked)} % right` : "" }), result);
  });
  head.replaceChildren(make("tr", { role: "row" }, hasImages ? cell("image", "-", "image") : null, cell("question", "", sortable("", "question")), cell("right", "right", sortable("right", "right answer")), ...cells));
  if (focus) [...head.querySelectorAll("[data-key]")].find(one => one.dataset.key === focus)?.focus();
}
function drawQuestion(exam, q) {
  const test = exam.test, cell = make("td", { className: "question", role: "cell" }, isolate(test.texts[test.text[q]]));
  if (!test.boxes) cell.append(make("ol", {}, ...test.sets[test.set[q]].map((option, place) => {
    const isTrue = place === test.right[q];
    return make("li", { className: isTrue ? "true" : "" }, `${LETTERS[place] ?? place + 1}: `, isolate(option), isTrue ? make("span", { className: "mark", textContent: " ✓" }) : null);
  })));
  const where = state.exam === "" ? `${exam.name} · ` : "";
  cell.append(make("div", { className: "id" }, where, isolate(test.start + test.ids[q])));
  return cell;
}
const percent = value => value === index.none ? "" : `${value} %`;
function drawAnswers(exam, column, q) {
  const cell = make("td", { className: "arm", role: "cell", data: { "data-head": column.name } }), part = sum(exam, column.key), test = exam.test;
  if (!part) { cell.append("–"); return cell; }
  if (!column.isOne) cell.append(make("div", { className: "variant" }, isolate(part.variant)));
  const groups = new Map();
  for (const one of part.sittings) groups.set(one.given[q], [...groups.get(one.given[q]) ?? [], one]);
  const order = test.boxes ? (a, b) => b[0] - a[0] : (a, b) => b[1].length - a[1].length;
  for (const [given, sittings] of [...groups].sort(order)) {
    const right = isRight(test, given, q), text = test.boxes ? sittings[0].found[q].length ? `IoU ${given} %` : "no box" : test.sets[test.set[q]][given] ?? "no option named";
    const told = sittings.map(one => [one.seed === null ? "" : `seed ${one.seed}`, percent(one.sure[q])].filter(Boolean).join(": ")).filter(Boolean);
    const sure = sittings.filter(one => one.sure[q] !== index.none), mean = sure.reduce((total, one) => total + one.sure[q], 0) / sure.length;
    const block = make("div", { className: `given ${right ? "ok" : "no"}` }, make("b", {}, isolate(text)), make("span", { className: "mark", textContent: right ? " ✓" : " ✗", role: "img", ariaLabel: right ? "right" : "wrong" }));
    if (test.boxes) block.append(drawBoxes(exam, q, sittings[0]));
    else if (sure.length) {
      const fill = make("i");
      Object.assign(fill.style, { width: `${mean}%`, background: column.colour });
      block.append(make("span", { className: "bar" }, fill));
    }
    block.append(make("span", { className: "seeds" }, ...told.flatMap((one, place) => [place ? ", " : "", make("span", { textContent: one })])));
    cell.append(block);
  }
  return cell;
}
function findImage(exam, q) { return exam.images ? images[`${exam.images}-${Math.floor(q / index.chunk)}`]?.[q % index.chunk] : null; }
function drawImage(exam, q) {
  const cell = make("td", { className: "image", role: "cell" }), found = findImage(exam, q);
  if (exam.test.boxes) { cell.append(drawBoxes(exam, q, null)); return cell; }
  if (!found) return cell;
  const [src, width, height] = found;
  cell.append(make("img", { className: `picture${Math.max(width, height) <= 96 ? " small" : ""}`, src, width, height, alt: `test image ${exam.test.start}${exam.test.ids[q]}` }));
  return cell;
}
function drawBoxes(exam, q, sitting) {
  const [uri, width, height] = findImage(exam, q) ?? [null, 100, 100];
  const draw = (tag, values) => { const part = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [name, value] of Object.entries(values)) part.setAttribute(name, value); return part; };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "picture", role: "img", "aria-label": sitting ? "found and true boxes" : "true boxes" });
  if (uri) svg.append(draw("image", { href: uri, width, height }));
  const sides = [[exam.test.boxes[q], "#fff", "5 3"], [sitting ? sitting.found[q] : [], "#E69F00", "none"]];
  for (const [boxes, colour, dashes] of sides) for (const [left, top, right, bottom] of boxes) for (const [stroke, wide, dash] of [["#000", 4, "none"], [colour, 2, dashes]])
    svg.append(draw("rect", { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height, fill: "none", stroke, "stroke-width": wide, "stroke-dasharray": dash, "vector-effect": "non-scaling-stroke" }));
  return svg;
}
async function drawRows(rows, shown) {
  const files = new Set(rows.filter(([exam]) => exam.images).map(([exam, q]) => `${exam.images}-${Math.floor(q / index.chunk)}`));
  const draw = () => body.replaceChildren(...rows.map(([exam, q]) => make("tr", { role: "row" },
    hasImages ? drawImage(exam, q) : null, drawQuestion(exam, q), make("td", { className: "right", role: "cell", data: { "data-head": "right answer" } }, isolate(exam.test.boxes ? "the dashed box" : rightText(exam.test, q))), ...shown.map(column => drawAnswers(exam, column, q)))));
  const missing = [...files].filter(name => !images[name]);
  draw();
  if (!missing.length) return;
  const at = ++drawn;
  await Promise.allSettled(missing.map(name => load(`${name}.js`)));
  if (at === drawn) draw();
}
let drawn = 0, asked = 0, hasImages = false;
async function show(rebuilds = true) {
  const at = ++asked, chosen = selected();
  try { await Promise.all([...new Set(chosen.map(exam => exam.piece))].filter(number => !pieces[number]).map(number => load(`piece-${number}.js`))); }
  catch (error) { status.textContent = error.message; return; }
  if (at !== asked) return;
  chosen.forEach(open);
  hasImages = chosen.some(exam => exam.images || exam.test.boxes);
  document.body.classList.toggle("bare", !hasImages);
  const columns = listColumns(chosen), shown = listShown(columns), rows = find(chosen, shown);
  if (rebuilds) drawForm(chosen, columns, shown);
  drawHead(shown, rows);
  const last = Math.max(0, Math.ceil(rows.length / PAGE_ROWS) - 1), page = Math.min(Number(state.page) || 0, last), start = page * PAGE_ROWS, end = Math.min(start + PAGE_ROWS, rows.length);
  const total = chosen.reduce((count, exam) => count + exam.test.ids.length, 0);
  status.textContent = `${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")} test questions`;
  clear.hidden = rows.length === total;
  const [back, forth] = pager.querySelectorAll("button");
  pager.hidden = last === 0;
  pager.querySelector("span").textContent = `${(start + 1).toLocaleString("en")} to ${end.toLocaleString("en")}`;
  back.disabled = page === 0;
  forth.disabled = page === last;
  back.onclick = () => { state.page = String(page - 1); show(false); };
  forth.onclick = () => { state.page = String(page + 1); show(false); };
  document.body.classList.toggle("large", state.large === "1");
  keep();
  drawRows(rows.slice(start, end), shown);
}
clear.addEventListener("click", () => {
  for (const name of Object.keys(state)) if (!["exam", "arms", "sort", "down", "large"].includes(name)) state[name] = "";
  show();
});
document.querySelector("details").open = innerWidth > 768;
form.addEventListener("submit", event => event.preventDefault());
show();
