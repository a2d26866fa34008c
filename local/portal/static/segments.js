// crowd-semantic-segmentation: a frame's segments, to be looked at. There is no brush here, as Ground Truth has one.
import { parseLenient } from "./lenient.js";
import { pictureOf, prepareNext } from "./tasks.js";

const HINT =
  "This portal has no brush: it shows what the models painted, and you accept it, or say that the frame cannot be labelled. Segments are corrected in Ground Truth.";

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
      () => this.#say("The picture cannot be loaded. Reload the page; if that does not help, tell whoever runs the job."),
    );
  }

  disconnectedCallback() {
    this.#listeners.abort();
  }

  /** The answer: the server adds the picture, which stays as it was shown. */
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
    refuse.addEventListener("click", () => form.submit({ failure: "a person says that it cannot be labelled" }));
    this.replaceChildren(
      element("p", { textContent: src ? HINT : `The models painted nothing here. ${HINT}` }),
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

  #say(text) {
    this.prepend(element("p", { textContent: text }));
  }
}
