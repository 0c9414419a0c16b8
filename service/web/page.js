// The page: sends the form to the service, and shows the answer or the error.

import { addRationale, breakOff, clearAnswer, showFigures, showLabel } from "./answer.js";
import { ServiceError, listModels, predict } from "./api.js";
import { curl } from "./curl.js";
import { byId, element } from "./dom.js";
import { fieldOf, fillFields, makeFields, readFields, summary } from "./fields.js";

const form = byId("form");
const fields = byId("fields");
const percent = new Intl.NumberFormat("en", { style: "percent" });

let models = [];
let explaining = true; // what the user wants of the models that explain
let asking = null; // the AbortController of the request in flight

function model() {
  return models.find(({ name }) => name === byId("model").value);
}

function key() {
  return byId("key").value.trim();
}

/** The request without `stream`: the copied command returns the answer in one piece. */
function body() {
  const asked = { inputs: readFields(fields, model().task) };
  if (models.length > 1) asked.model = model().name;
  if (byId("explain").checked) asked.explain = true;
  return asked;
}

async function load() {
  try {
    models = await listModels(key());
    if (models.length === 0) throw new ServiceError("no model is loaded");
  } catch (error) {
    showError(error);
    byId("ask").textContent = byId("key-part").hidden ? "Try again" : "Continue";
    return;
  } finally {
    byId("ask").disabled = false;
  }
  byId("model").replaceChildren(
    ...models.map(({ name }) => element("option", { value: name, textContent: name })),
  );
  byId("model").value = (models.find((model) => model.default) ?? models[0]).name;
  byId("ask").textContent = "Ask";
  byId("input-part").hidden = false;
  byId("command-part").hidden = false;
  showModel();
}

function showModel() {
  const { task, explains } = model();
  clearErrors();
  byId("explain").disabled = !explains;
  byId("explain").checked = explains && explaining;
  byId("explain-note").textContent = explains
    ? "The model writes a rationale in a second pass. This takes longer."
    : "This model was trained without rationales, so it gives labels only.";
  byId("model-facts").textContent = facts(model());
  makeFields(fields, task);
  fillFields(fields, task.examples[0] ?? {});
  byId("examples").replaceChildren(
    ...task.examples.map((example) => {
      const button = element("button", { type: "button" }, summary(example));
      button.addEventListener("click", () => {
        fillFields(fields, example);
        clearErrors();
        showCommand();
      });
      return element("li", {}, [button]);
    }),
  );
  byId("examples-part").hidden = task.examples.length === 0;
  showCommand();
}

function facts({ version, precision, limits, metrics, task }) {
  const measured = metrics.test ?? metrics.validation;
  const split = metrics.test ? "test" : "validation";
  return [
    `Version ${version}, ${precision}`,
    `up to ${limits.input_tokens} tokens`,
    measured?.accuracy !== undefined &&
      `right on ${percent.format(measured.accuracy)} of ${measured.rows} ${split} rows`,
    Array.isArray(task.labels) && `${task.labels.length} labels`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function showCommand() {
  byId("command").textContent = curl(body(), key());
}

async function ask() {
  clearErrors();
  clearAnswer();
  asking = new AbortController();
  byId("ask").textContent = "Stop";
  byId("answer").setAttribute("aria-busy", "true");
  const started = performance.now();
  const open = model().task.labels === "open";
  const asked = body();
  let labelled = false;
  try {
    const { timings, events } = await predict(asked, key(), asking.signal);
    for await (const { name, data } of events) {
      if (name === "label") {
        showLabel(data, open, asked.explain);
        labelled = true;
      } else if (name === "rationale") {
        addRationale(data.text);
      } else if (name === "done") {
        showFigures(data, timings, performance.now() - started);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") error = new ServiceError("stopped", "stopped");
    if (labelled) breakOff(sentence(error.message));
    else showError(error);
  } finally {
    asking = null;
    byId("ask").textContent = "Ask";
    byId("answer").setAttribute("aria-busy", "false");
  }
}

/** Shows an error beside its field, and moves the focus there. */
function showError(error) {
  if (!(error instanceof ServiceError)) throw error;
  let [control, place] = [null, byId("form-error")];
  if ([401, 403].includes(error.status)) {
    byId("key-part").hidden = false;
    control = byId("key");
  } else if (error.type === "model_not_found") {
    control = byId("model");
  } else {
    control = fieldOf(fields, error.message);
  }
  if (control) {
    place = byId(`${control.id}-error`);
    control.setAttribute("aria-invalid", "true");
    control.focus();
  }
  byId("nothing").hidden = false;
  place.textContent = sentence(error.message);
}

function clearErrors() {
  for (const place of document.querySelectorAll(".error")) place.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
  }
}

/** Removes the place from the start of a service's message: the page shows the place itself. */
function sentence(message) {
  const text = message.replace(/^inputs: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!…]$/.test(text) ? "" : ".");
}

async function copy() {
  const command = byId("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(command); // over plain HTTP, a page may not write to the clipboard
    byId("copy").textContent = "Selected";
  }
  setTimeout(() => (byId("copy").textContent = "Copy"), 2000);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (asking) asking.abort();
  else if (models.length === 0) load();
  else ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.addEventListener("input", (event) => {
  if (event.target.id === "explain") explaining = event.target.checked;
  if (event.target.id === "model") showModel();
  else if (models.length > 0) showCommand();
});
byId("copy").addEventListener("click", copy);
fetch("docs").then( // a service may have no docs
  ({ ok }) => (byId("docs").hidden = !ok),
  () => {},
);
load();
