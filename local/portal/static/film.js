// The images of a strip, decoded around the frame that is shown; those far away are let go.

const BYTES = 256 << 20;
const LEAST_FRAMES = 16;
// More would take the processor from the page, which draws meanwhile.
const AT_ONCE = 2;
// The share of the decoded frames before the one that is shown.
const BEHIND = 0.25;

/** Events: `frame` (detail: a frame that can be shown now, or that cannot be loaded). */
export class Film extends EventTarget {
  #addresses;
  #bitmaps;
  #failed;
  #loading = 0;
  #from = 0;
  #to = 0;
  #asked;
  #room = LEAST_FRAMES;

  constructor(addresses) {
    super();
    this.#addresses = addresses;
    this.#bitmaps = new Array(addresses.length).fill(null);
    this.#failed = new Uint8Array(addresses.length);
    this.#asked = new Uint8Array(addresses.length);
  }

  /** Load a frame, and return the size of its image; raises an error when it cannot be loaded. */
  async open(frame) {
    const bitmap = await this.#load(frame);
    this.#bitmaps[frame] = bitmap;
    const { width, height } = bitmap;
    this.#room = Math.max(LEAST_FRAMES, Math.floor(BYTES / (4 * width * height)));
    return { width, height };
  }

  /** Return the image of a frame, null while there is none. */
  at(frame) {
    return this.#bitmaps[frame];
  }

  failed(frame) {
    return this.#failed[frame] === 1;
  }

  /** Say which frame is shown: those after it come next. */
  want(frame) {
    this.#from = Math.max(0, Math.min(frame - Math.floor(this.#room * BEHIND), this.#addresses.length - this.#room));
    this.#to = Math.min(this.#from + this.#room, this.#addresses.length);
    for (let other = 0; other < this.#bitmaps.length; other++) {
      if (this.#bitmaps[other] === null || (other >= this.#from && other < this.#to)) continue;
      this.#bitmaps[other].close();
      this.#bitmaps[other] = null;
    }
    this.#fill(frame);
  }

  #fill(frame) {
    this.shown = frame;
    for (let other = frame; other < this.#to && this.#loading < AT_ONCE; other++) if (this.#lacks(other)) this.#begin(other);
    for (let other = frame - 1; other >= this.#from && this.#loading < AT_ONCE; other--) if (this.#lacks(other)) this.#begin(other);
  }

  #lacks(frame) {
    return this.#bitmaps[frame] === null && !this.#asked[frame] && !this.#failed[frame];
  }

  #begin(frame) {
    this.#loading += 1;
    this.#asked[frame] = 1;
    this.#load(frame)
      .then(
        (bitmap) => {
          if (frame < this.#from || frame >= this.#to) return bitmap.close();
          this.#bitmaps[frame] = bitmap;
          return undefined;
        },
        () => {
          this.#failed[frame] = 1;
        },
      )
      .finally(() => {
        this.#loading -= 1;
        this.#asked[frame] = 0;
        this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
        this.#fill(this.shown);
      });
  }

  async #load(frame) {
    const response = await fetch(this.#addresses[frame]);
    if (!response.ok) throw new Error(`frame ${frame + 1} cannot be loaded: ${response.status}`);
    return createImageBitmap(await response.blob());
  }
}
