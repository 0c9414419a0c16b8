// The fields of a task's input, as text areas: texts, and lists with one choice per line.

import { element } from "./dom.js";

const MOST_SHOWN = 200; // characters of a field on a card

/** Makes empty fields for `task` in `container`. */
export function makeFields(container, task) {
  container.replaceChildren(...task.fields.map((name, i) => makeField(name, i, choicesOf(task))));
}

function makeField(name, i, choices) {
  const id = `field-${i}`;
  const area = element("textarea", { id, name, rows: 3, spellcheck: false });
  area.setAttribute("aria-describedby", `${id}-note ${id}-error`);
  const note = name === choices ? "One choice a line. The label is one of them." : "";
  return element("div", { className: "field" }, [
    element("label", { htmlFor: id, textContent: title(name) }),
    area,
    element("p", { id: `${id}-note`, className: "note", textContent: note }),
    element("p", { id: `${id}-error`, className: "error" }),
  ]);
}

/** Puts an example into the fields. */
export function fillFields(container, example) {
  for (const area of container.querySelectorAll("textarea")) {
    const value = example[area.name] ?? "";
    area.value = Array.isArray(value) ? value.join("\n") : value;
  }
}

/** The input for /predict from the fields. A single text is sent as a string. */
export function readFields(container, task) {
  const areas = [...container.querySelectorAll("textarea")];
  const choices = choicesOf(task);
  if (areas.length === 1 && !choices) return areas[0].value;
  return Object.fromEntries(
    areas.map(({ name, value }) => [name, name === choices ? nonBlankLines(value) : value]),
  );
}

/** The field that a message of the service names, if any. */
export function fieldOf(container, message) {
  const areas = [...container.querySelectorAll("textarea")];
  if (!message.startsWith("inputs")) return null;
  if (areas.length === 1) return areas[0];
  return areas.find(({ name }) =>
    [`: ${name} `, `: ${name}: `, `: a label in ${name} `, `['${name}']`].some((mention) =>
      message.startsWith(`inputs${mention}`),
    ),
  );
}

/** An example in short: a line for each field, with the field's name if there are several. */
export function summary(example) {
  const entries = Object.entries(example);
  return entries.map(([name, value]) => {
    const text = shortened(Array.isArray(value) ? value.join(", ") : value);
    const named = element("span", { className: "name", textContent: `${title(name)}: ` });
    return element("span", { className: "line" }, entries.length > 1 ? [named, text] : [text]);
  });
}

/** The text, or its beginning up to the last whole word. */
function shortened(text) {
  const characters = [...text];
  if (characters.length <= MOST_SHOWN) return text;
  const begin = characters.slice(0, MOST_SHOWN).join("");
  return `${begin.replace(/\s+\S{0,30}$/, "")} …`;
}

function choicesOf(task) {
  return task.labels.field ?? null;
}

function nonBlankLines(text) {
  return text.split("\n").filter((line) => line.trim());
}

function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
