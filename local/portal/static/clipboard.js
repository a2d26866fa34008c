// Copied boxes: a class and a place each. They last as long as the browser's tab, and so reach other frames and jobs.

const NAME = "autolabel:copied";

export function copyBoxes(boxes) {
  const copied = boxes.map(({ label, left, top, width, height }) => ({ label, left, top, width, height }));
  sessionStorage.setItem(NAME, JSON.stringify(copied));
}

export const copiedBoxes = () => JSON.parse(sessionStorage.getItem(NAME) ?? "[]");
