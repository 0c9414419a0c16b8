// Shows the answer: label, confidence, rationale, times and tokens.

import { byId, element } from "./dom.js";

const MOST_SCORES = 8;
const number = new Intl.NumberFormat("en", {
  maximumFractionDigits: 6,
  maximumSignificantDigits: 6,
  roundingPriority: "morePrecision", // all digits before the point, and six of a tiny number
});
const share = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1 });
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function percent(part) {
  if (part > 0 && part < 0.0005) return "<0.1%";
  if (part < 1 && part >= 0.9995) return ">99.9%";
  return share.format(part);
}

/** Clears the old answer before a new one. */
export function clearAnswer() {
  byId("nothing").hidden = true;
  byId("result").hidden = true;
  byId("rationale-part").hidden = true;
  byId("rationale").replaceChildren();
  byId("details").hidden = true;
  byId("figures").replaceChildren();
  byId("status").textContent = "";
}

export function showLabel(answer, open, explained) {
  showVerdict(answer);
  const shown = answer.scores.slice(0, MOST_SCORES);
  byId("scores").replaceChildren(
    ...shown.map(({ label, score }) => bar(open ? "Confidence" : label, score)),
  );
  const rest = answer.scores.slice(MOST_SCORES);
  const remainder = rest.reduce((sum, { score }) => sum + score, 0);
  byId("others").textContent = rest.length
    ? `and ${rest.length} less likely labels, ${percent(remainder)} together`
    : "";
  byId("rationale-part").hidden = !explained;
  byId("result").hidden = false;
  if (byId("verdict").getBoundingClientRect().top > innerHeight / 2) {
    byId("answer").scrollIntoView(); // on a phone it is below the form
  }
  say(`${byId("verdict").innerText}, confidence ${percent(answer.confidence)}.`);
}

/** The label is the headline; if it is an equation, its value is, and the equation stands below. */
function showVerdict({ label, answer }) {
  let [value, kind] = ["", ""];
  if (answer === null) [value, kind] = ["No value", "This cannot be worked out:"];
  else if (answer !== undefined) [value, kind] = [number.format(answer), "Equation:"];
  byId("value").hidden = !value;
  byId("value").textContent = value;
  byId("label-kind").textContent = kind;
  byId("label").textContent = label || "(empty)";
}

export function addRationale(text) {
  byId("rationale").append(text);
}

/** Shows figures. `timings`: the service's, until the label; `elapsed`: the page's; both in ms. */
export function showFigures(answer, timings, elapsed) {
  const { usage } = answer;
  const written = usage.label_tokens + usage.rationale_tokens;
  byId("figures").replaceChildren(
    ...figure("Label", ms(timings.total), stages(timings)),
    ...figure("Whole answer", ms(elapsed), "as this page saw it"),
    ...figure("Tokens", `${written} written`, `${usage.input_tokens} read`),
    ...figure(
      "Tokens per step",
      decimal.format(written / usage.decoder_steps),
      `${usage.decoder_steps} steps, ${usage.accepted_tokens} tokens guessed ahead`,
    ),
  );
  byId("details").hidden = false;
  const rationale = answer.rationale ? ` ${answer.rationale}` : "";
  say(`${byId("status").textContent}${rationale}`);
}

/** Shows an error or a stop that came after the label. */
export function breakOff(message) {
  byId("answer-error").textContent = message;
  say(message);
}

function say(text) {
  byId("status").textContent = text;
}

function bar(name, score) {
  const filled = element("span");
  filled.style.width = `${100 * score}%`;
  const track = element("span", { className: "bar" }, [filled]);
  track.setAttribute("aria-hidden", "true");
  return element("li", {}, [
    element("span", { className: "name", textContent: name }),
    " ",
    element("span", { className: "share", textContent: percent(score) }),
    track,
  ]);
}

function figure(name, value, note) {
  return [
    element("div", {}, [
      element("dt", { textContent: name }),
      element("dd", { textContent: value }),
      element("dd", { className: "note", textContent: note }),
    ]),
  ];
}

function stages({ tokenization, queue, inference }) {
  return `${ms(inference)} in the model, ${ms(queue)} waiting, ${ms(tokenization)} tokenizing`;
}

function ms(value) {
  return `${value < 10 ? decimal.format(value) : Math.round(value)} ms`;
}
