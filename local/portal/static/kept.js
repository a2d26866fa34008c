// What this browser keeps from frame to frame and from job to job: numbers, texts and keys by name.

export const kept = {
  get: (name, otherwise) => JSON.parse(localStorage.getItem(`autolabel:${name}`) ?? "null") ?? otherwise,
  set: (name, value) => localStorage.setItem(`autolabel:${name}`, JSON.stringify(value)),
};

/** The reviewer's choices: what the settings say of each, and whether it is on at first. */
export const CHOICES = {
  zoom: ["Tab zooms in to the box", true],
  pointer: ["Show the class of the next new box at the pointer", true],
  warn: ["Enter warns once if uncertain boxes are not reviewed", false],
};

export const chosen = (name) => kept.get(`choice:${name}`, CHOICES[name][1]);
export const choose = (name, on) => kept.set(`choice:${name}`, on);
