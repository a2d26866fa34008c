// The settings: choices and keys, which this browser remembers.
import { CHOICES, choose, chosen } from "./kept.js";
import { COMMANDS, freeKey, giveKey, keyName, keyOf, resetKeys } from "./keys.js";
import { element, openDialog } from "./panel.js";

/** Open the settings; calls `changed` after every change. */
export function openSettings(changed) {
  const choices = Object.entries(CHOICES).map(([name, [text]]) => {
    const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: chosen(name) });
    input.addEventListener("change", () => {
      choose(name, input.checked);
      changed();
    });
    const label = document.createElement("label");
    label.append(input, text);
    return label;
  });
  const told = element("p", "portal-told", "To change a key, click it and press another.");
  told.setAttribute("role", "status");
  const table = element("table", "portal-keys");
  const buttons = COMMANDS.map(([name, , does]) => {
    const button = Object.assign(element("button", "portal-key"), { type: "button", value: name });
    const row = table.insertRow();
    row.append(element("th", ""), element("td", "", does));
    row.cells[0].append(button);
    return button;
  });
  const show = () => {
    for (const button of buttons) {
      button.textContent = keyName(keyOf(button.value));
      button.ariaPressed = "false";
    }
    changed();
  };
  table.addEventListener("click", ({ target }) => {
    if (!buttons.includes(target)) return;
    show();
    target.textContent = "…";
    target.ariaPressed = "true";
  });
  const reset = Object.assign(element("button", "portal-key", "Usual keys"), { type: "button" });
  reset.addEventListener("click", () => {
    resetKeys();
    show();
  });
  const dialog = openDialog("Settings", [...choices, told, table, reset]);
  dialog.addEventListener("keydown", (event) => {
    const waiting = buttons.find((button) => button.ariaPressed === "true");
    if (!waiting || ["Escape", "Tab", "Shift"].includes(event.key)) return;
    event.preventDefault();
    const key = freeKey(event);
    told.textContent = key ? `${keyName(key)} is set.` : "This key has a meaning of its own. Press another.";
    if (!key) return;
    giveKey(waiting.value, key);
    show();
  });
  show();
}
