// The crowd elements that the project's templates use; others remain unknown HTML elements.
import { BoundingBox } from "./bounding-box.js";
import { Form } from "./form.js";
import { Segments } from "./segments.js";

customElements.define("crowd-form", Form);
customElements.define("crowd-bounding-box", BoundingBox);
customElements.define("crowd-semantic-segmentation", Segments);
document.dispatchEvent(new Event("all-crowd-elements-ready"));
