// crowd-semantic-segmentation: shows a frame's segments. Unlike Ground Truth, it has no brush.
import { parseLenient } from "./lenient.js";
import { pictureOf, prepareNext } from "./tasks.js";

const HINT =
  "This portal has no brush. Accept the models' segments, or mark the frame as one that cannot be labelled. To correct segments, use Ground Truth.";

function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

export class Segments extends HTMLElement {
  #listeners = null;
  #size = { width: 0, height: 0 };

  connectedCallback() {
    this.#listeners = new AbortController();
    this.instructions = [...this.querySelectorAll("full-instructions, short-instructions")];
    const image = pictureOf(this.getAttribute("src"));
    image.alt = this.getAttribute("header") ?? "";
    image.decode().then(
      () => this.isConnected && this.#show(image),
      () => this.#report("The image cannot be loaded. Reload the page. If that does not help, tell the operator of this job."),
    );
  }

  disconnectedCallback() {
    this.#listeners.abort();
  }

  /** The answer; the server adds the segments, which stay as shown. */
  get value() {
    return { initialValueModified: false, inputImageProperties: this.#size };
  }

  finish() {
    this.classList.add("portal-sent");
  }

  resume() {
    this.classList.remove("portal-sent");
  }

  #show(image) {
    this.#size = { width: image.naturalWidth, height: image.naturalHeight };
    const { src, labelMappings = {} } = parseLenient(this.getAttribute("initial-value") || "{}");
    const picture = element("div", { className: "portal-segments" }, image);
    if (src) picture.append(element("img", { className: "portal-overlay", src, alt: "the models' segments" }));
    const names = Object.entries(labelMappings).map(([name, { color }]) => {
      const swatch = element("i");
      swatch.style.background = color;
      return element("li", {}, swatch, name);
    });
    const form = this.closest("crowd-form");
    const accept = element("button", { type: "button", textContent: "Accept (Enter)" });
    accept.addEventListener("click", () => form.submit());
    const refuse = element("button", { type: "button", textContent: "Cannot be labelled" });
    refuse.addEventListener("click", () => form.submit({ failure: "a reviewer says that the frame cannot be labelled" }));
    this.replaceChildren(
      element("p", { textContent: src ? HINT : `The models found no segments here. ${HINT}` }),
      picture,
      element("ul", {}, ...names),
      element("p", {}, accept, refuse, " Hold H to hide the segments."),
      ...this.instructions,
    );
    const options = { signal: this.#listeners.signal };
    addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.repeat && event.target.localName !== "button") form.submit();
      if (event.key === "h") picture.classList.add("portal-bare");
    }, options);
    addEventListener("keyup", (event) => event.key === "h" && picture.classList.remove("portal-bare"), options);
    prepareNext();
  }

  #report(text) {
    this.prepend(element("p", { textContent: text }));
  }
}
