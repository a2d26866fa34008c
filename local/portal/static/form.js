// crowd-form: the values of its named fields are the answer.
import { send } from "./tasks.js";

/** Parse JSON of a template or an answer, which may be anything. */
export const parsed = (text) => {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
};

export class Form extends HTMLElement {
  #sent = false;

  connectedCallback() {
    this.querySelector("crowd-button[form-action=submit]")?.addEventListener("click", () => this.submit());
  }

  /** The notes of the template's own script on the work so far; null when the template has none. */
  get review() {
    const input = this.querySelector("input[name=review]");
    return input && parsed(input.value || "{}");
  }

  /** Send the answer; `notes`: unsure, comment, failure. Does nothing while an answer is being sent. */
  async submit(notes = {}) {
    if (this.#sent || !this.dispatchEvent(new Event("submit", { cancelable: true }))) return;
    const boxes = this.querySelector("crowd-bounding-box, crowd-semantic-segmentation");
    const content = {};
    for (const field of this.querySelectorAll("input[name], textarea[name], select[name]")) {
      content[field.name] = field.type === "checkbox" ? { on: field.checked } : field.value;
    }
    if (boxes) content[boxes.getAttribute("name")] = boxes.value;
    if (this.review) content.review = JSON.stringify({ ...this.review, ...boxes?.review, ...notes });
    if (notes.failure) content.failure = notes.failure;
    this.#sent = true;
    boxes?.finish();
    this.#sent = await send(content, boxes?.draft);
    if (!this.#sent) boxes?.resume();
  }
}
